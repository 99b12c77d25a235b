"""HTTP as such: routes, errors, streams, hostile clients.  In front of a fake model, whose words come slowly and are known."""
import contextlib
import json
import re
import socket
import threading
import time
import unittest

from serving import FAKE_SERVER, Server, post_bytes, receive

HELLO = {"messages": [{"role": "user", "content": "hi"}]}
ENDLESS = {"messages": [{"role": "user", "content": "#endless"}], "max_tokens": 100000}
WHOLE_REPLY = "听起来你今天过得不容易，我在这里陪着你。"


class HttpTest(unittest.TestCase):
    options = ["--token-ms", "10", "--receive-ms", "2000"]

    @classmethod
    def setUpClass(cls):
        cls.server = Server(FAKE_SERVER, *cls.options)

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        assert status == 0, f"exit status {status}"

    def assert_error(self, answer, status, param=None, code=None):
        got_status, body = answer
        self.assertEqual(got_status, status, body)
        error = body["error"]
        self.assertEqual(set(error), {"message", "type", "param", "code"})
        self.assertTrue(error["message"])
        self.assertEqual(error["param"], param)
        if code:
            self.assertEqual(error["code"], code)


class Routes(HttpTest):
    def test_the_page_and_all_it_names_are_served_with_a_strict_policy(self):
        status, headers, page = self.server.request("GET", "/")
        self.assertEqual(status, 200)
        self.assertEqual(headers["Content-Type"], "text/html; charset=utf-8")
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertIn("frame-ancestors 'none'", headers["Content-Security-Policy"])
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        self.assertEqual(headers["Referrer-Policy"], "no-referrer")
        self.assertNotRegex(page.decode(), r"<script(?![^>]*\bsrc=)")
        self.assertNotIn("style=", page.decode())
        names = re.findall(r'(?:src|href)="([\w.-]+\.(?:js|css|svg|png|ico))"', page.decode())
        self.assertTrue(names)
        types = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
        for name in names:
            status, headers, content = self.server.request("GET", f"/{name}")
            self.assertEqual(status, 200, name)
            self.assertEqual(headers["Content-Type"], types[name.rsplit(".")[-1]])
            self.assertTrue(content)

    def test_an_unchanged_file_is_not_sent_again(self):
        _, headers, _ = self.server.request("GET", "/")
        status, again, body = self.server.request("GET", "/", headers={"If-None-Match": headers["ETag"]})
        self.assertEqual((status, body, again["ETag"]), (304, b"", headers["ETag"]))
        self.assertEqual(self.server.request("GET", "/", headers={"If-None-Match": '"other"'})[0], 200)

    def test_head_sends_the_head_alone(self):
        for path in ("/", "/healthz", "/v1/models"):
            _, got, body = self.server.request("GET", path)
            status, head, nothing = self.server.request("HEAD", path)
            self.assertEqual((status, nothing), (200, b""))
            self.assertEqual(head["Content-Length"], str(len(body)))
            self.assertEqual(head["Content-Type"], got["Content-Type"])

    def test_probes_models_and_tasks_answer(self):
        self.assertEqual(self.server.get("/healthz"), (200, {"status": "ok"}))
        self.assertEqual(self.server.get("/readyz")[0], 200)
        _, models = self.server.get("/v1/models")
        self.assertEqual(models["object"], "list")
        self.assertEqual(models["data"][0]["owned_by"], "qaio")
        self.assertEqual(self.server.get("/v1/models/" + models["data"][0]["id"])[1], models["data"][0])
        self.assert_error(self.server.get("/v1/models/gpt-9"), 404, "model", "model_not_found")
        _, tasks = self.server.get("/v1/tasks")
        self.assertIn("sentiment", [t["name"] for t in tasks["data"]])
        self.assertEqual(self.server.get("/v1/tasks/sentiment")[1], next(t for t in tasks["data"] if t["name"] == "sentiment"))
        self.assertEqual({t["name"]: t["constraint"] for t in tasks["data"] if "constraint" in t},
                         {"keywords": {"kind": "keywords", "separator": "、", "max_items": 5, "max_characters": 16}})
        self.assert_error(self.server.get("/v1/tasks/nonsense"), 404, None, "task_not_found")

    def test_the_wrong_method_names_the_right_ones(self):
        for method, path, allow in (("GET", "/v1/analyze", "POST, OPTIONS"), ("POST", "/healthz", "GET, HEAD, OPTIONS"),
                                    ("DELETE", "/v1/tasks/sentiment", "GET, HEAD, POST, OPTIONS"), ("PUT", "/", "GET, HEAD, OPTIONS")):
            status, headers, body = self.server.request(method, path)
            self.assert_error((status, json.loads(body)), 405)
            self.assertEqual(headers["Allow"], allow)

    def test_unknown_paths_are_404(self):
        for path in ("/nothing", "/v1", "/v1/", "/v1/tasks/", "/v1/models/", "/healthz/", "/../etc/passwd", "/v1/chat", "//"):
            self.assert_error(self.server.get(path), 404, None, "unknown_url")
        self.assert_error(self.server.post("/v1/embeddings", {}), 404)

    def test_metrics_count_requests_in_prometheus_text(self):
        self.server.get("/healthz")
        _, headers, body = self.server.request("GET", "/metrics")
        self.assertTrue(headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        self.assertRegex(body.decode(), r'qaio_http_requests_total\{method="GET",route="/healthz",code="200"\} [1-9]')
        for line in body.decode().splitlines():
            self.assertRegex(line, r"^(# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\})? [0-9.e+]+)$")
        series = [line.rsplit(" ", 1)[0] for line in body.decode().splitlines() if line[0] != "#"]
        self.assertEqual(len(series), len(set(series)))


class Errors(HttpTest):
    def test_bad_bodies_get_a_400_that_names_the_field(self):
        for path, body, param in (
            ("/v1/chat/completions", {}, "messages"),
            ("/v1/chat/completions", {"messages": []}, "messages"),
            ("/v1/chat/completions", {**HELLO, "temperature": "hot"}, "temperature"),
            ("/v1/chat/completions", {**HELLO, "n": 2}, "n"),
            ("/v1/chat/completions", {**HELLO, "tools": [{"type": "function"}]}, "tools"),
            ("/v1/chat/completions", {**HELLO, "response_format": {"type": "yaml"}}, "response_format"),
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
             "messages[0]"),
            ("/v1/completions", {"prompt": [1, 2, 3]}, "prompt"),
            ("/v1/completions", {"prompt": "a", "echo": True}, "echo"),
            ("/v1/analyze", {"text": 5}, "text"),
            ("/v1/analyze", {"text": "a", "response_format": {"type": "json_object"}}, "response_format"),
            ("/v1/analyze", {"text": "  \n"}, "text"),
            ("/v1/tasks/sentiment", {"texts": "a"}, "texts"),
            ("/v1/tasks/sentiment", {"texts": ["a", " "]}, "texts[1]"),
        ):
            self.assert_error(self.server.post(path, body), 400, param)

    def test_what_is_no_json_object_is_a_400(self):
        for body in (b"", b"{", b"[]", b"5", b"{}{}", b"\xff", b'{"text":"\xff"}', b'{"text":"\\ud800"}', b'{"a":' * 65 + b"1" + b"}" * 65,
                     b"[" * 100000):
            for path in ("/v1/chat/completions", "/v1/analyze", "/v1/tasks/sentiment"):
                self.assert_error(self.server.post(path, body, **{"Content-Type": "application/json"}), 400, None, "invalid_json")

    def test_an_unknown_model_or_task_is_a_404(self):
        self.assert_error(self.server.post("/v1/chat/completions", {**HELLO, "model": "gpt-9"}), 404, "model", "model_not_found")
        self.assert_error(self.server.post("/v1/tasks/nonsense", {"text": "a"}), 404, None, "task_not_found")
        self.assert_error(self.server.post("/v1/analyze", {"text": "a", "tasks": ["nonsense"]}), 404, "tasks", "task_not_found")

    def test_a_text_that_does_not_fit_says_so(self):
        self.assert_error(self.server.post("/v1/analyze", {"text": "长" * 10000}), 400, "text", "context_length_exceeded")

    def test_anything_but_json_is_a_415(self):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"):
            status, _, body = self.server.request("POST", "/v1/analyze", b'{"text":"a"}', {"Content-Type": kind})
            self.assert_error((status, json.loads(body)), 415)
        self.assertEqual(self.server.post("/v1/analyze", b'{"text":"a"}', **{"Content-Type": "application/json; charset=utf-8"})[0], 200)

    def test_a_full_queue_is_a_429_with_retry_after(self):
        status, headers, body = self.server.request("POST", "/v1/analyze", {"text": "#busy"})
        self.assert_error((status, json.loads(body)), 429)
        self.assertEqual(headers["Retry-After"], "1")

    def test_a_model_that_breaks_is_a_500_and_the_server_lives(self):
        self.assert_error(self.server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "#broken"}]}), 500)
        events = [(e, d) for _, e, d in self.server.events("/v1/analyze", {"text": "#broken", "stream": True})]
        self.assertEqual(events[-1][0], "error")
        self.assertEqual(events[-1][1]["error"]["type"], "server_error")
        self.assertTrue(self.server.is_alive())


class Streams(HttpTest):
    options = ["--token-ms", "50"]

    def test_the_label_comes_first_and_words_come_one_by_one(self):
        events = list(self.server.events("/v1/analyze", {"text": "心情很低落", "stream": True, "tasks": ["sentiment", "emotion"]}))
        names = [name for _, name, _ in events]
        self.assertEqual(names[:2], ["label", "label"])
        self.assertEqual(names[-1], "done")
        self.assertEqual(set(names[2:-1]), {"delta"})
        self.assertEqual(events[0][2]["label"], "negative")
        self.assertEqual("".join(d["text"] for _, name, d in events if name == "delta"), WHOLE_REPLY)
        times = [t for t, name, _ in events if name == "delta"]
        self.assertGreater(times[-1] - times[0], 0.05 * (len(times) - 1) * 0.8)
        self.assertLess(events[0][0], times[0])
        done = events[-1][2]
        self.assertEqual(set(done), {"finish_reason", "usage", "timings", "dropped_messages", "model"})
        self.assertEqual(set(done["timings"]), {"labels_ms", "first_token_ms", "total_ms", "tokens_per_second"})

    def test_a_stream_says_what_the_whole_answer_says(self):
        body = {"text": "好", "tasks": ["sentiment"], "history": HELLO["messages"]}
        _, whole = self.server.post("/v1/analyze", body)
        events = list(self.server.events("/v1/analyze", {**body, "stream": True}))
        self.assertEqual(whole["labels"], [d for _, name, d in events if name == "label"])
        self.assertEqual(whole["reply"], "".join(d["text"] for _, name, d in events if name == "delta"))
        self.assertEqual(whole["usage"], events[-1][2]["usage"])
        self.assertEqual(whole["finish_reason"], "stop")

    def test_labels_alone_need_no_reply(self):
        _, answer = self.server.post("/v1/analyze", {"text": "好", "reply": False})
        self.assertEqual((answer["reply"], answer["finish_reason"], answer["timings"]["first_token_ms"]), (None, None, None))
        self.assertEqual([n for _, n, _ in self.server.events("/v1/analyze", {"text": "好", "reply": False, "stream": True})], ["label", "done"])

    def test_a_crisis_comes_first_and_is_marked(self):
        body = {"text": "好", "tasks": ["sentiment", "crisis"]}
        _, whole = self.server.post("/v1/analyze", body)
        self.assertTrue(whole["crisis"])
        self.assertIs(whole["labels"][1]["crisis"], True)
        self.assertNotIn("crisis", whole["labels"][0])
        first, reply = whole["reply"].split("\n\n", 1)
        self.assertIn("12356", first)
        self.assertTrue(reply)
        events = [(n, d) for _, n, d in self.server.events("/v1/analyze", {**body, "stream": True})]
        self.assertEqual([n for n, _ in events[:3]], ["label", "label", "delta"])
        self.assertTrue(events[2][1]["crisis"])
        self.assertEqual("".join(d["text"] for n, d in events if n == "delta"), whole["reply"])
        _, calm = self.server.post("/v1/analyze", {**body, "text": "心情很低落"})  # the fake's "no"
        self.assertFalse(calm["crisis"])
        self.assertNotIn("12356", calm["reply"])
        _, only = self.server.post("/v1/analyze", {**body, "reply": False})
        self.assertTrue(only["crisis"])

    def test_labels_choose_the_prompt_of_a_chat_task_that_routes(self):
        body = {"text": "好", "tasks": ["emotion"], "reply": "service"}
        _, whole = self.server.post("/v1/analyze", body)
        self.assertEqual([a["task"] for a in whole["labels"]], ["emotion", "urgency", "sentiment", "intent"])
        self.assertEqual(whole["route"]["id"], "urgent")
        self.assertEqual(whole["route"]["when"], {"urgency": "urgent"})
        _, sad = self.server.post("/v1/analyze", {**body, "text": "心情很低落"})
        self.assertEqual(sad["route"]["id"], "soothe")
        names = [n for _, n, _ in self.server.events("/v1/analyze", {**body, "stream": True})]
        self.assertEqual(names[:6], ["label"] * 4 + ["route", "delta"])
        own = {**body, "history": [{"role": "system", "content": "x"}]}
        self.assertNotIn("route", self.server.post("/v1/analyze", own)[1])
        self.assert_error(self.server.post("/v1/analyze", {"text": "a", "reply": "sentiment"}), 400, "reply")
        self.assert_error(self.server.post("/v1/analyze", {"text": "a", "reply": "nobody"}), 404, "reply", "task_not_found")

    def test_a_task_that_generates_answers_with_its_text(self):
        _, answer = self.server.post("/v1/tasks/chat", {"text": "好", "max_tokens": 2})
        self.assertEqual(set(answer), {"task", "reply", "finish_reason", "usage", "model", "task_version"})
        self.assertEqual((answer["task"], answer["reply"], answer["finish_reason"]), ("chat", "听起来你", "length"))
        _, answers = self.server.post("/v1/tasks/chat", {"texts": ["好", "坏"], "stop": "今天"})
        self.assertEqual([a["reply"] for a in answers["results"]], ["听起来你"] * 2)
        self.assert_error(self.server.post("/v1/tasks/chat", {"text": "好", "stream": True}), 400, "stream")

    def test_a_chat_task_answers_with_its_route(self):
        _, answers = self.server.post("/v1/tasks/service", {"texts": ["好", "心情很低落"], "max_tokens": 2})
        self.assertEqual([a["route"]["id"] for a in answers["results"]], ["urgent", "soothe"])

    def test_a_task_that_generates_answers_beside_labels(self):
        body = {"text": "心情很低落", "reply": "keywords", "tasks": ["sentiment", "crisis"], "max_tokens": 2}
        _, whole = self.server.post("/v1/analyze", {**body, "history": HELLO["messages"]})
        self.assertEqual([a["label"] for a in whole["labels"]], ["negative", "no"])
        self.assertEqual((whole["reply"], whole["finish_reason"], whole["dropped_messages"]), ("听起来你", "length", 0))
        self.assertNotIn("route", whole)
        names = [n for _, n, _ in self.server.events("/v1/analyze", {**body, "stream": True})]
        self.assertEqual(names, ["label", "label", "delta", "delta", "done"])
        _, danger = self.server.post("/v1/analyze", {**body, "text": "好"})  # the fake's "yes"
        self.assertIn("12356", danger["reply"])

    def test_chat_chunks_are_openais(self):
        body = {**HELLO, "stream": True, "max_tokens": 3, "stream_options": {"include_usage": True}}
        chunks = [d for _, _, d in self.server.events("/v1/chat/completions", body)]
        self.assertEqual(chunks.pop(), "[DONE]")
        usage = chunks.pop()
        self.assertEqual(usage["choices"], [])
        self.assertEqual(usage["usage"]["completion_tokens"], 3)
        self.assertEqual(chunks[0]["choices"][0]["delta"], {"role": "assistant", "content": ""})
        self.assertEqual("".join(c["choices"][0]["delta"].get("content", "") for c in chunks), "听起来你今天")
        self.assertEqual([c["choices"][0]["finish_reason"] for c in chunks], [None] * 4 + ["length"])
        self.assertEqual(len({c["id"] for c in chunks}), 1)

    def test_the_first_event_does_not_wait_for_the_model(self):
        late = {"messages": [{"role": "user", "content": "#late"}], "stream": True}
        with contextlib.closing(self.server.events("/v1/chat/completions", late)) as events:
            self.assertLess(next(events)[0], 1.0)

    def test_a_client_that_leaves_stops_its_generation(self):
        for stream in (True, False):
            with self.server.connect() as s:
                s.sendall(post_bytes("/v1/chat/completions", {**ENDLESS, "stream": stream}))
                if stream:
                    receive(s, "听起来".encode())
                self.assertTrue(self.server.becomes_active(1))
            self.assertTrue(self.server.becomes_idle())
            generated = self.server.metric("qaio_generated_tokens_total")
            time.sleep(0.3)
            self.assertEqual(self.server.metric("qaio_generated_tokens_total"), generated)

    def test_a_client_that_aborts_stops_its_generation(self):
        with self.server.connect() as s:
            s.sendall(post_bytes("/v1/analyze", {"text": "#endless", "max_tokens": 100000, "stream": True}))
            receive(s, b"delta")
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.assertTrue(self.server.becomes_idle())

    def test_a_client_that_leaves_before_its_labels_stops_them_and_gets_no_reply(self):
        for body in ({}, {"reply": "keywords"}, {"reply": "service"}, {"reply": "service", "layout": "probe"}, {"reply": False}):
            for stream in (True, False):
                with self.subTest(**body, stream=stream), self.server.connect() as s:
                    before = self.server.metric("qaio_jobs_total")
                    s.sendall(post_bytes("/v1/analyze", {"text": "#slow", "stream": stream, **body}))
                    n = (3 if body.get("reply") == "service" else 1) + (body in ({}, {"reply": "keywords"}) or "layout" in body)
                    self.assertTrue(self.server.becomes_active(n))
                    s.close()
                    self.assertTrue(self.server.becomes_idle(within=5))
                    self.assertEqual(self.server.metric("qaio_jobs_total"), before + n)

    def test_a_half_closed_client_still_gets_its_stream_and_its_label(self):
        with self.server.connect() as s:
            s.sendall(post_bytes("/v1/analyze", {"text": "好", "stream": True}, Connection="close"))
            s.shutdown(socket.SHUT_WR)
            self.assertIn(b"event: done", receive(s))
        with self.server.connect() as s:
            s.sendall(post_bytes("/v1/tasks/sentiment", {"text": "好"}, Connection="close"))
            s.shutdown(socket.SHUT_WR)
            self.assertIn(b'"positive"', receive(s))


class SlowModel(HttpTest):
    options = ["--token-ms", "7000"]

    def test_a_silent_stream_says_that_it_is_alive(self):
        with contextlib.closing(self.server.events("/v1/chat/completions", {**HELLO, "stream": True, "max_tokens": 1})) as events:
            self.assertEqual(next(events)[2]["choices"][0]["delta"]["role"], "assistant")
            self.assertEqual(next(events)[1], "comment")
            self.assertEqual(next(events)[2]["choices"][0]["delta"]["content"], "听起来")


class Hostile(HttpTest):
    def tearDown(self):
        self.assertTrue(self.server.is_alive())

    def test_a_body_over_a_mebibyte_is_a_413(self):
        big = b'{"text":"' + b"a" * (1 << 20) + b'"}'
        self.assert_error(self.server.post("/v1/analyze", big, **{"Content-Type": "application/json"}), 413)
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (big[i : i + 50000] for i in range(0, len(big), 50000)))
        answer = self.server.send(b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks +
                                  b"0\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer[:100])
        for length in (b"99999999999", b"18446744073709551615"):
            answer = self.server.send(b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n{")
            self.assertRegex(answer, rb"^HTTP/1.1 4(13|00) ")

    def test_a_client_that_asks_first_is_told_before_it_sends(self):
        head = b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n"
        self.assertTrue(self.server.send(head).startswith(b"HTTP/1.1 413 "))

    def test_a_body_in_chunks_is_a_body(self):
        answer = self.server.send(b"POST /v1/tasks/sentiment HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                                  b'5\r\n{"tex\r\n6\r\nt":"a"\r\n1\r\n}\r\n0\r\n\r\n')
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)

    def test_bad_chunks_get_no_answer_of_the_route(self):
        for chunk in (b"zz\r\n{}\r\n", b"-1\r\n{}\r\n", b"fffffffffffffffff\r\n{}\r\n", b"2\r\n{}XX"):
            answer = self.server.send(b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)
            self.assertNotIn(b" 200 ", answer)

    def test_malformed_requests_are_refused(self):  # promise 5
        for data in (b"\0\1\2\3\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n", b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
                     b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n"):
            self.assertNotIn(b" 200 ", self.server.send(data, timeout=3), data)

    def test_huge_headers_are_refused(self):
        for head in (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Big: " + b"a" * 100000 + b"\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: a\r\n" * 20000 + b"\r\n"):
            with self.server.connect() as s:
                try:
                    s.sendall(head)
                except (ConnectionResetError, BrokenPipeError):
                    pass
                self.assertNotIn(b" 200 ", receive(s))

    def test_pipelined_requests_are_answered_in_order(self):
        requests = [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", post_bytes("/v1/tasks/sentiment", {"text": "低落"}),
                    b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"]
        answer = self.server.send(b"".join(requests))
        self.assertEqual(answer.count(b"HTTP/1.1 200 OK"), 3)
        self.assertLess(answer.index(b'"ok"'), answer.index(b'"negative"'))
        self.assertLess(answer.index(b'"negative"'), answer.index(b'"ready"'))

    def test_trickling_clients_are_cut_off(self):
        heads = (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        for head in heads:
            with self.server.connect() as s:
                s.sendall(head)
                begun = time.monotonic()
                try:
                    while time.monotonic() - begun < 8:
                        s.sendall(b"a")
                        time.sleep(0.1)
                except (ConnectionResetError, BrokenPipeError):
                    pass
                self.assertLess(time.monotonic() - begun, 5)

    def test_a_client_that_does_not_read_is_cut_off(self):
        body = {**ENDLESS, "stream": True, "logprobs": True, "top_logprobs": 20}
        fast = Server(FAKE_SERVER, "--token-ms", "0")
        with fast.connect() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(post_bytes("/v1/chat/completions", body))
            self.assertTrue(fast.becomes_active(1))
            self.assertTrue(fast.becomes_idle(within=20))
        self.assertEqual(fast.stop(), 0)

    def test_silent_connections_do_not_keep_others_out(self):
        silent = [self.server.connect() for _ in range(100)]
        self.assertTrue(self.server.is_alive())
        for s in silent:
            s.close()

    def test_strange_hosts_are_misdirected(self):
        for host in ("evil.example", "localhost.evil.example", "10.0.0.1", "[::2]:80", "evil.example:" + str(self.server.port)):
            status, _, body = self.server.request("GET", "/healthz", headers={"Host": host})
            self.assert_error((status, json.loads(body)), 421)
        for host in ("localhost", "LOCALHOST:1", "[::1]", "127.0.0.1:99"):
            self.assertEqual(self.server.request("GET", "/healthz", headers={"Host": host})[0], 200)

    def test_other_pages_may_not_post(self):
        for origin in ("http://evil.example", "null", "http://localhost:1"):
            self.assert_error(self.server.post("/v1/analyze", {"text": "a"}, Origin=origin), 403)
            _, headers, _ = self.server.request("OPTIONS", "/v1/analyze", headers={"Origin": origin})
            self.assertIsNone(headers["Access-Control-Allow-Origin"])
        self.assertEqual(self.server.post("/v1/analyze", {"text": "a"}, Origin=self.server.url)[0], 200)


class Guarded(HttpTest):
    options = ["--key", "a-long-secret", "--allow-origin", "https://chat.example"]

    def test_the_key_opens_what_it_guards(self):
        for method, path in (("GET", "/v1/models"), ("GET", "/metrics"), ("POST", "/v1/analyze"), ("GET", "/v1/tasks")):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "a-long-secret"}):
                status, got, body = self.server.request(method, path, {"text": "a"} if method == "POST" else None, headers)
                self.assert_error((status, json.loads(body)), 401, None, "invalid_api_key")
                self.assertEqual(got["WWW-Authenticate"], "Bearer")
        self.assertEqual(self.server.post("/v1/analyze", {"text": "a"}, Authorization="Bearer a-long-secret")[0], 200)

    def test_the_page_and_the_probes_need_none(self):
        for path in ("/", "/healthz", "/readyz"):
            self.assertEqual(self.server.request("GET", path)[0], 200)

    def test_a_named_page_may_call(self):
        origin = "https://chat.example"
        status, headers, _ = self.server.request("OPTIONS", "/v1/analyze", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (204, origin))
        self.assertIn("Authorization", headers["Access-Control-Allow-Headers"])
        status, headers, _ = self.server.request("POST", "/v1/analyze", {"text": "a"}, {"Origin": origin, "Authorization": "Bearer a-long-secret"})
        self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (200, origin))


class Limits(unittest.TestCase):
    def test_more_connections_than_allowed_do_no_harm(self):
        server = Server(FAKE_SERVER, "--max-connections", "4", "--receive-ms", "500")
        crowd = [server.connect() for _ in range(50)]
        time.sleep(1.0)
        self.assertTrue(server.is_alive())
        for s in crowd:
            s.close()
        self.assertEqual(server.stop(), 0)

    def test_a_signal_ends_it_even_in_the_middle_of_a_reply(self):
        server = Server(FAKE_SERVER, "--token-ms", "20")
        with server.connect() as talking, server.connect() as silent:
            talking.sendall(post_bytes("/v1/chat/completions", {**ENDLESS, "stream": True}))
            receive(talking, "听起来".encode())
            begun = time.monotonic()
            self.assertEqual(server.stop(), 0)
            self.assertLess(time.monotonic() - begun, 3)
            self.assertNotIn(b"[DONE]", receive(talking))
            self.assertEqual(receive(silent), b"")

    def test_eight_clients_stream_at_the_same_time(self):
        server = Server(FAKE_SERVER, "--token-ms", "20")
        texts = [None] * 8

        def talk(i):
            body = {"text": "低落" if i % 2 else "好", "stream": True, "seed": i}
            events = list(server.events("/v1/analyze", body))
            texts[i] = events[0][2]["label"], "".join(d["text"] for _, name, d in events if name == "delta")

        begun = time.monotonic()
        threads = [threading.Thread(target=talk, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertLess(time.monotonic() - begun, 8 * 13 * 0.02)
        for i, (label, text) in enumerate(texts):
            self.assertEqual(label, "negative" if i % 2 else "positive")
            self.assertEqual(len(text), len(WHOLE_REPLY))
        self.assertEqual(len({text for _, text in texts}), 8)
        self.assertEqual(server.stop(), 0)


del HttpTest  # only its children are tests
if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
