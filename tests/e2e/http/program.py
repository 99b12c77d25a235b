"""The built program, served on a free port for the tests of a class, with OpenAI's client in front of it."""
import unittest

import openai

from serving import QAIO, Server


class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(QAIO, "serve", "--port", "0")
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="none", max_retries=0)
        cls.model = cls.client.models.list().data[0].id

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        status = cls.server.stop()
        assert status == 0, f"exit status {status}"
