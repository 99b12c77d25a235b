"""Task files that change while `qaio serve --tasks DIR` runs; the real program with its embedded model."""
import pathlib
import tempfile
import threading
import time
import unittest

from serving import QAIO, Server

TASK = """name: taste
version: {version}
title: {{zh: 口味, en: Taste}}
kind: label
layout: own
system: 只输出：好吃 / 难吃
labels:
  - {{id: good, text: 好吃}}
  - {{id: bad, text: 难吃}}
"""


class Reload(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "taste.yaml"
        self.file.write_text(TASK.format(version=1))
        (self.file.parent / "other.yaml").write_text(TASK.format(version=1).replace("taste", "other"))
        self.server = Server(QAIO, "serve", "--port", "0", "--tasks", folder.name)
        self.addCleanup(self.stop)

    def stop(self):
        self.assertEqual(self.server.stop(), 0)

    def taste(self):
        """(version of the task or None, what is wrong with the files)"""
        listing = self.server.get("/v1/tasks")[1]
        return next((t["version"] for t in listing["data"] if t["name"] == "taste"), None), listing["reload_error"]

    def becomes(self, is_there, within=10.0):
        end = time.monotonic() + within
        while time.monotonic() < end:
            if is_there(*self.taste()):
                return
            time.sleep(0.1)
        self.fail(f"after {within} s still {self.taste()}")

    def test_a_changed_file_is_read_and_a_removed_one_forgotten(self):
        self.assertEqual(self.taste(), (1, None))
        self.file.write_text(TASK.format(version=2))
        self.becomes(lambda version, error: version == 2 and error is None)
        status, answer = self.server.post("/v1/tasks/taste", {"text": "汤很鲜"})
        self.assertEqual((status, answer["task_version"]), (200, 2))
        self.file.unlink()
        self.becomes(lambda version, error: version is None)
        self.assertEqual(self.server.post("/v1/tasks/taste", {"text": "汤很鲜"})[0], 404)

    def test_a_broken_file_changes_nothing_and_says_where(self):
        self.file.write_text(TASK.format(version=3).replace("kind: label", "kind: lable"))
        self.becomes(lambda version, error: error is not None)
        version, error = self.taste()
        self.assertEqual(version, 1)
        self.assertIn("taste.yaml:4", error)
        self.file.write_text(TASK.format(version=4))
        self.becomes(lambda version, error: version == 4 and error is None)

    def test_no_request_is_lost_while_tasks_change(self):
        wrong, done = [], threading.Event()

        def ask():
            while not done.is_set():
                status, answer = self.server.post("/v1/tasks/taste", {"text": "汤很鲜"})
                if status != 200:
                    wrong.append((status, answer))

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        for version in range(2, 5):
            self.file.write_text(TASK.format(version=version))
            self.becomes(lambda now, error, version=version: now == version)
        done.set()
        for client in clients:
            client.join()
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main()
