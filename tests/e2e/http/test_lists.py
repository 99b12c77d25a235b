"""POST /v1/tasks/{name} with a list of texts: order, refusals, clients that leave."""
import unittest

from serving import FAKE_SERVER, QAIO, Server, post_bytes

SAD, GLAD = "今天考试没考好,心情很低落。", "我刚收到了梦寐以求的offer!"
MOST = 1024  # texts of a request


class Lists(unittest.TestCase):
    command = [FAKE_SERVER, "--token-ms", "1"]

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.command)

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        assert status == 0, f"exit status {status}"

    def ask(self, task, **body):
        return self.server.post(f"/v1/tasks/{task}", body)


class OfTheProgram(Lists):
    command = [QAIO, "serve", "--port", "0"]

    def test_answers_come_in_order_and_are_those_of_each_text_alone(self):
        texts = [f"{i}: {GLAD if i % 3 else SAD * (1 + i % 4)}" for i in range(100)]
        for field in ("texts", "text"):
            status, answer = self.ask("sentiment", **{field: texts})
            self.assertEqual(status, 200, answer)
            self.assertEqual(len(answer["results"]), len(texts))
            for i in (0, 1, 31, 32, 33, 99):
                self.assertEqual(answer["results"][i], self.ask("sentiment", text=texts[i])[1])

    def test_generated_answers_come_in_order(self):
        texts = [SAD, GLAD, "快递又丢了，客服电话一直打不通。"]
        results = self.ask("keywords", texts=texts)[1]["results"]
        self.assertEqual([r["reply"] for r in results], [self.ask("keywords", text=text)[1]["reply"] for text in texts])
        for text, result in zip(texts, results):
            self.assertTrue(all(word in text for word in result["reply"].split("、")))

    def test_a_chat_task_follows_its_own_prompt_as_in_analyze(self):
        chat, service = (self.ask(name, text=SAD, temperature=0)[1] for name in ("chat", "service"))
        whole = self.server.post("/v1/analyze", {"text": SAD, "tasks": [], "reply": "service", "temperature": 0})[1]
        self.assertEqual((service["reply"], service["route"]), (whole["reply"], whole["route"]))
        self.assertNotEqual(service["usage"]["prompt_tokens"], chat["usage"]["prompt_tokens"])

    def test_one_text_that_cannot_be_read_fails_the_request_and_is_named(self):
        for bad, code in (("", "invalid_value"), (" \n", "invalid_value"), (SAD * 200, "context_length_exceeded")):
            for i in (0, 40):
                texts = [SAD] * 41
                texts[i] = bad
                status, answer = self.ask("sentiment", texts=texts)
                self.assertEqual((status, answer["error"]["param"], answer["error"]["code"]), (400, f"texts[{i}]", code))
        self.assertTrue(self.server.becomes_idle())

    def test_clients_that_leave_free_the_engine_for_others(self):
        for _ in range(4):
            with self.server.connect() as s:
                s.sendall(post_bytes("/v1/tasks/sentiment", {"texts": [SAD * 8] * MOST}))
                self.assertTrue(self.server.becomes_active_at_least(1))
        self.assertTrue(self.server.becomes_idle())
        self.assertEqual(self.ask("sentiment", texts=[SAD, GLAD])[1]["results"][1]["label"], "positive")


class OfTheServer(Lists):
    def test_a_list_has_1_to_1024_texts(self):
        for field in ("texts", "text"):
            for texts in ([], ["a"] * (MOST + 1)):
                status, answer = self.ask("sentiment", **{field: texts})
                self.assertEqual((status, answer["error"]["param"], answer["error"]["code"]), (400, field, "invalid_value"))
            self.assertEqual(len(self.ask("sentiment", **{field: ["a"] * MOST})[1]["results"]), MOST)
        self.assertEqual(len(self.ask("sentiment", texts=["a"])[1]["results"]), 1)

    def test_answers_keep_the_order_of_their_texts(self):
        is_sad = [i % 5 in (1, 2) for i in range(200)]
        results = self.ask("sentiment", texts=["心情低落" if sad else "好" for sad in is_sad])[1]["results"]
        self.assertEqual([r["label"] == "negative" for r in results], is_sad)

    def test_a_queue_that_stays_full_is_a_429(self):
        status, answer = self.ask("sentiment", texts=["a", "b", "#busy", "c"])
        self.assertEqual((status, answer["error"]["code"]), (429, "busy"))
        self.assertTrue(self.server.becomes_idle())

    def test_a_client_that_leaves_stops_what_runs_and_starts_nothing_more(self):
        for task, text, n in (("sentiment", "#slow", 32), ("chat", "#endless", 1)):
            before = self.server.metric("qaio_jobs_total")
            with self.server.connect() as s:
                s.sendall(post_bytes(f"/v1/tasks/{task}", {"texts": [text] * 100, "max_tokens": 100000}))
                self.assertTrue(self.server.becomes_active(n))
            self.assertTrue(self.server.becomes_idle(within=5))
            self.assertEqual(self.server.metric("qaio_jobs_total"), before + n)


del Lists  # has no tests of its own

if __name__ == "__main__":
    unittest.main()
