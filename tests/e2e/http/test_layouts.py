"""/v1/analyze with the layouts of label tasks; the real program with its embedded model."""
import json
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
            self.assertEqual(masses[0] > 0.9, layout == "own")  # what the model was trained for

    def test_a_client_that_leaves_while_it_waits_harms_nobody(self):
        for _ in range(5):
            with self.server.connect() as s:
                s.sendall(post_bytes("/v1/analyze", {"text": TEXT * 40, "tasks": FIVE, "layout": "probe"}))
        with self.server.connect() as s:
            s.sendall(post_bytes("/v1/tasks/sentiment", {"text": TEXT}, Connection="close"))
            self.assertEqual(json.loads(receive(s).split(b"\r\n\r\n", 1)[1])["label"], "negative")


if __name__ == "__main__":
    unittest.main()
