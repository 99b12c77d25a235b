"""serve --timeout: what is not done in time ends, and says so."""
import json
import subprocess
import time
import unittest

from serving import QAIO, Server

LONG = "今天考试没考好,心情很低落。" * 28
FIVE = ["sentiment", "emotion", "intent", "urgency", "crisis"]


def endless(**more):
    """A reply that could only end at its length: the tokens that end one are forbidden."""
    done = subprocess.run([QAIO, "inspect", "tokenize"], input=b'{"text":"<|im_end|><|endoftext|>"}', stdout=subprocess.PIPE, check=True)
    return {"max_tokens": 400, "logit_bias": {str(i): -100 for i in json.loads(done.stdout)["ids"]}, "temperature": 0, **more}


class Timeout(unittest.TestCase):
    def serve(self, seconds):
        server = Server(QAIO, "serve", "--port", "0", "--timeout", seconds)
        self.addCleanup(lambda: self.assertEqual(server.stop(), 0))
        return server

    def assert_timeout(self, status, error):
        self.assertEqual((status, error["code"], error["type"], error["param"]), (503, "timeout", "server_error", None))
        self.assertIn("1 ms", error["message"])

    def test_labels_that_are_not_read_in_time_are_a_503(self):
        server = self.serve("0.001")
        for body in ({"texts": [LONG] * 64}, {"texts": [LONG] * 64, "layout": "shared"}):
            status, answer = server.post("/v1/tasks/sentiment", body)
            self.assert_timeout(status, answer["error"])
        status, answer = server.post("/v1/analyze", {"text": LONG, "tasks": FIVE})
        self.assert_timeout(status, answer["error"])
        self.assertTrue(server.becomes_idle())
        self.assertTrue(server.is_alive())

    def test_a_stream_that_is_late_ends_with_an_error(self):
        server = self.serve("0.001")
        events = [(name, data) for _, name, data in server.events("/v1/analyze", {"text": LONG, "tasks": FIVE, "stream": True})]
        self.assertEqual(events[-1][0], "error")
        self.assert_timeout(503, events[-1][1]["error"])
        self.assertNotIn("delta", [name for name, _ in events])

    def test_a_reply_that_has_begun_keeps_what_it_has(self):
        for seconds in ("0.02", "0.04", "0.08", "0.16", "0.32"):  # some of them end between the first token and the last
            server = self.serve(seconds)
            begun = time.monotonic()
            status, whole = server.post("/v1/chat/completions", endless(messages=[{"role": "user", "content": "讲个故事"}]))
            events = [(name, data) for _, name, data in server.events("/v1/analyze", endless(text="讲个故事", stream=True))]
            self.assertLess(time.monotonic() - begun, 5)
            if status != 200 or events[-1][0] != "done":
                continue
            self.assertEqual(whole["choices"][0]["finish_reason"], "length")
            self.assertEqual(events[-1][1]["finish_reason"], "length")
            if max(whole["usage"]["completion_tokens"], events[-1][1]["usage"]["completion_tokens"]) < 400:
                self.assertTrue(whole["choices"][0]["message"]["content"])
                return
        self.fail("no reply was cut by its deadline")

    def test_what_is_quick_enough_never_notices(self):
        server = self.serve("60")
        status, answer = server.post("/v1/analyze", {"text": LONG, "tasks": FIVE, "max_tokens": 8})
        self.assertEqual((status, len(answer["labels"])), (200, 5))

    def test_a_timeout_that_is_no_time_is_refused_at_start(self):
        for seconds in ("-1", "soon", "1e9"):
            done = subprocess.run([QAIO, "serve", "--port", "0", "--timeout", seconds], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(b"timeout", done.stderr)


if __name__ == "__main__":
    unittest.main()
