"""/v1/analyze with the layouts of label tasks; the real program with its embedded model."""
import json
import pathlib
import tempfile
import unittest

from serving import QAIO, Server, post_bytes, receive

TEXT = "今天考试没考好,心情很低落。"
FIVE = ["sentiment", "emotion", "intent", "urgency", "crisis"]


class Layouts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(QAIO, "serve", "--port", "0")

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        assert status == 0, f"exit status {status}"

    def analyze(self, **more):
        status, answer = self.server.post("/v1/analyze", {"text": TEXT, "tasks": FIVE, "temperature": 0, "max_tokens": 12, **more})
        self.assertEqual(status, 200, answer)
        return answer

    def test_labels_are_the_same_with_and_without_a_reply_and_the_reply_with_and_without_labels(self):
        reply = self.analyze(tasks=[])["reply"]
        tasks = [t for t in FIVE if t != "crisis"]  # which may put a text of its own first: the embedded model guesses in `shared`
        for layout in ("own", "shared", "probe"):
            beside = self.analyze(layout=layout, tasks=tasks)
            self.assertEqual(beside["reply"], reply)
            self.assertEqual(beside["labels"], self.analyze(layout=layout, tasks=tasks, reply=False)["labels"])
        self.assertEqual(self.analyze()["labels"], self.analyze(layout="own")["labels"])

    def test_the_probe_adds_only_its_openings_to_the_tokens(self):
        alone = self.analyze(tasks=[])["usage"]["prompt_tokens"]
        added = self.analyze(layout="probe")["usage"]["prompt_tokens"] - alone
        self.assertTrue(0 < added <= 5 * 5, added)

    def test_one_task_alone_is_read_in_the_same_layouts(self):
        for layout in ("own", "shared", "probe"):
            beside = self.analyze(layout=layout, reply=False, diagnostics=True)["labels"][0]
            for body in ({"text": TEXT}, {"texts": [TEXT, TEXT + TEXT]}):
                status, answer = self.server.post("/v1/tasks/sentiment", {**body, "layout": layout, "diagnostics": True})
                self.assertEqual(status, 200, answer)
                self.assertEqual(answer["results"][0] if "texts" in body else answer, beside)

    def test_a_generated_answer_comes_beside_labels_and_is_the_tasks_own(self):
        _, alone = self.server.post("/v1/tasks/keywords", {"text": TEXT})
        beside = self.analyze(reply="keywords", max_tokens=None, history=[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}])
        self.assertEqual(beside["reply"], alone["reply"])
        self.assertTrue(all(word and word in TEXT for word in beside["reply"].split("、")), beside["reply"])
        self.assertEqual(beside["labels"], self.analyze(reply=False)["labels"])

    def test_labels_come_before_the_first_word(self):
        names = [name for _, name, _ in self.server.events("/v1/analyze", {"text": TEXT, "tasks": FIVE, "stream": True, "layout": "probe"})]
        self.assertEqual(names[:5], ["label"] * 5)
        self.assertEqual(names[5], "delta")
        self.assertEqual(names[-1], "done")

    def test_diagnostics_say_how_probable_the_labels_are_at_all(self):
        for layout in ("own", "shared", "probe"):
            plain, diagnosed = self.analyze(layout=layout)["labels"], self.analyze(layout=layout, diagnostics=True)["labels"]
            masses = [label.pop("label_mass") for label in diagnosed]
            self.assertEqual(plain, diagnosed)
            self.assertTrue(all(0 < mass <= 1.000001 for mass in masses), masses)
            self.assertGreater(masses[0], 0.9)  # the model was trained for all of them

    def test_a_client_that_leaves_while_it_waits_harms_nobody(self):
        for _ in range(5):
            with self.server.connect() as s:
                s.sendall(post_bytes("/v1/analyze", {"text": TEXT * 40, "tasks": FIVE, "layout": "probe"}))
        with self.server.connect() as s:
            s.sendall(post_bytes("/v1/tasks/sentiment", {"text": TEXT}, Connection="close"))
            self.assertEqual(json.loads(receive(s).split(b"\r\n\r\n", 1)[1])["label"], "negative")


ROUTED = """name: {name}
version: 1
title: {{zh: 试, en: Try}}
kind: chat
system: {own}
route_by:
  - id: glad
    when: {{sentiment: positive}}
    system: 你是一个客服助手。用户很满意：真诚感谢他，简短而热情地回应。
"""
CHAT = "你是一个温暖、有同理心的AI助手。请用自然、友好的语气回应用户。"


class Routed(unittest.TestCase):
    """Labels that choose the prompt of the reply."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        (pathlib.Path(cls.folder.name) / "helpdesk.yaml").write_text(ROUTED.format(name="helpdesk", own=CHAT))
        cls.server = Server(QAIO, "serve", "--port", "0", "--tasks", cls.folder.name)
        cls.addClassCleanup(cls.server.stop)

    def analyze(self, text, **more):
        status, answer = self.server.post("/v1/analyze", {"text": text, "temperature": 0, "max_tokens": 8, **more})
        self.assertEqual(status, 200, answer)
        return answer

    def test_a_reply_whose_own_prompt_fits_is_that_of_the_labels_pass(self):
        for layout in ("own", "probe"):
            plain, routed = self.analyze(TEXT, layout=layout), self.analyze(TEXT, layout=layout, reply="helpdesk")
            if routed["labels"][0]["label"] == "positive":  # the embedded model guesses in `probe`
                continue
            self.assertIsNone(routed["route"])
            self.assertEqual((routed["reply"], routed["labels"]), (plain["reply"], plain["labels"]))
            self.assertEqual(routed["usage"]["prompt_tokens"], plain["usage"]["prompt_tokens"])

    def test_a_route_changes_the_reply_and_never_the_labels(self):
        history = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "你好呀"}]
        routes = set()
        for text in (TEXT, "我刚收到了梦寐以求的offer!", "天气真不错,适合出去走走。"):
            for layout in ("own", "shared", "probe"):
                body = {"text": text, "layout": layout, "history": history}
                plain, routed = self.analyze(**body), self.analyze(**body, reply="helpdesk")
                self.assertEqual(plain["labels"], routed["labels"])
                self.assertEqual(routed["route"] is not None, routed["labels"][0]["label"] == "positive")
                routes.add(routed["route"] and routed["route"]["id"])
                events = list(self.server.events("/v1/analyze", {**body, "reply": "helpdesk", "temperature": 0, "max_tokens": 8, "stream": True}))
                self.assertEqual("".join(d["text"] for _, name, d in events if name == "delta"), routed["reply"])
                times = events[-1][2]["timings"]
                if layout != "probe":  # there the first token may come with the labels
                    self.assertLess(times["labels_ms"], times["first_token_ms"])
        self.assertIn("glad", routes)

    def test_a_repeated_route_computes_only_the_text(self):
        self.analyze("我刚收到了梦寐以求的offer!", reply="helpdesk")
        usage = self.analyze("今天终于下班了，真开心！", reply="helpdesk")["usage"]
        self.assertLess(usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"], 2 * 20)


if __name__ == "__main__":
    unittest.main()
