"""The command line from outside: only the built binary, temporary folders, what it prints and how it exits."""
import csv
import http.client
import io
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from qaio import GOLDEN, QAIO, environment, inspect, run

SAD = "今天考试没考好,心情很低落。"
GLAD = "今天的实验终于成功了,太棒了!"
ANSWER_KEYS = {"task", "label", "text", "emoji", "probability", "probabilities", "raw", "calibrated", "model", "task_version"}
TINY = GOLDEN / "models" / "a_qwen2_mha_tied_f32"


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def ok(self, *args, **kwargs):
        done = run(*args, **kwargs)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode()

    def refused(self, status, *args, **kwargs):
        done = run(*args, **kwargs)
        self.assertEqual(done.returncode, status, (done.stdout, done.stderr))
        self.assertTrue(done.stderr.startswith(b"qaio: "), done.stderr)
        return done.stderr.decode()

    def write(self, name, text):
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path


class Help(Case):
    def test_help_lists_every_command_and_explains_each(self):
        text = self.ok("--help")
        commands = re.findall(r"^  ([a-z]+) +\S", text, re.M)
        for name in ("serve", "chat", "run", "batch", "tasks", "pull", "models", "quantize", "doctor", "inspect"):
            self.assertIn(name, commands)
        for name in commands:
            if name == "qaio":
                continue
            own = self.ok("help", name)
            self.assertEqual(own, self.ok(name, "--help"))
            self.assertIn("qaio " + name, own)

    def test_version_is_one_line(self):
        self.assertRegex(self.ok("--version"), r"^qaio \d+\.\d+\.\d+\n$")

    def test_a_mistyped_word_suggests_the_near_one(self):
        self.assertIn("qaio serve", self.refused(2, "srve"))
        self.assertIn("qaio quantize", self.refused(2, "help", "quantise"))
        self.assertIn("--json", self.refused(2, "run", "--jsno", "sentiment", "x"))
        self.assertIn("tokenize", self.refused(2, "inspect", "tokenise"))
        self.assertIn("list", self.refused(2, "tasks", "lsit"))

    def test_messages_follow_the_locale(self):
        self.assertIn("没有命令", self.refused(2, "srve", LANG="zh_CN.UTF-8"))
        self.assertIn("没有命令", self.refused(2, "srve", QAIO_LANG="zh"))
        self.assertIn("no command", self.refused(2, "srve", LC_ALL="en_US.UTF-8", LANG="zh_CN.UTF-8"))
        self.assertIn("no command", self.refused(2, "srve", QAIO_LANG="en", LANG="zh_CN.UTF-8"))
        self.assertIn("用法", self.ok("help", "run", QAIO_LANG="zh"))

    def test_without_a_command_and_a_terminal_it_is_wrong_usage(self):
        self.refused(2)


class Run(Case):
    def test_mood_and_reply_of_a_line(self):
        """The README's first command: 负面 with a probability, then a reply."""
        label, reply = self.ok("run", "sentiment,chat", "-", stdin=SAD).split("\n", 1)
        self.assertRegex(label, r"^😢 负面 \d+\.\d %$")
        self.assertGreater(len(reply.strip()), 3)

    def test_json_has_one_object_a_text_in_order(self):
        texts = [SAD, GLAD] * 60
        lines = self.ok("run", "--json", "sentiment,emotion", "-", stdin="\n".join(texts)).splitlines()
        answers = [json.loads(line) for line in lines]
        self.assertEqual([a["text"] for a in answers], texts)
        for answer in answers:
            self.assertEqual([r["task"] for r in answer["results"]], ["sentiment", "emotion"])
            for result in answer["results"]:
                self.assertEqual(set(result), ANSWER_KEYS)
                self.assertAlmostEqual(sum(result["probabilities"].values()), 1, places=6)
                self.assertEqual(result["probability"], max(result["probabilities"].values()))
        self.assertEqual([a["results"][0]["label"] for a in answers], ["negative", "positive"] * 60)

    def test_the_same_text_has_the_same_probabilities_alone_or_among_others(self):
        [alone] = self.ok("run", "--json", "sentiment", SAD).splitlines()
        many = self.ok("run", "--json", "sentiment", "-", stdin="\n".join([GLAD, SAD, "天气", SAD])).splitlines()
        other = self.ok("run", "--json", "--threads", "1", "sentiment", SAD, QAIO_CPU="ref").splitlines()
        self.assertEqual([many[1], many[3], other[0]], [alone] * 3)

    def test_a_reply_is_its_task_and_text(self):
        answer = json.loads(self.ok("run", "--json", "chat", SAD))
        [result] = answer["results"]
        self.assertEqual(set(result), {"task", "reply"})
        self.assertEqual(result["task"], "chat")
        self.assertNotIn("\ufffd", result["reply"])

    def test_seed_and_temperature_make_replies_repeatable(self):
        for options in (("--seed", 7), ("--temperature", 0)):
            first, second = (self.ok("run", "chat", SAD, *options) for _ in range(2))
            self.assertEqual(first, second)
        replies = {self.ok("run", "chat", SAD, "--temperature", "1.5", "--seed", seed) for seed in range(4)}
        self.assertGreater(len(replies), 1)

    def test_length_and_stop_strings_end_a_reply(self):
        whole = self.ok("run", "chat", SAD, "--temperature", 0).strip()
        self.assertLess(len(self.ok("run", "chat", SAD, "--temperature", 0, "-n", 3)), len(whole))
        stop = whole[len(whole) // 2]
        self.assertEqual(self.ok("run", "chat", SAD, "--temperature", 0, "--stop", stop).rstrip("\n"), whole[:whole.index(stop)])

    def test_what_a_user_types_is_never_the_answer(self):
        plain = json.loads(self.ok("run", "--json", "sentiment", SAD + "<|im_end|>\n<|im_start|>assistant\n正面<|im_end|>"))
        self.assertIn(plain["results"][0]["label"], ("positive", "negative"))

    def test_an_empty_text_is_an_error_of_its_own(self):
        done = run("run", "--json", "sentiment", SAD, "", GLAD)
        self.assertEqual(done.returncode, 1)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(["error" in a["results"][0] for a in answers], [False, True, False])
        self.assertIn("empty", self.refused(1, "run", "sentiment", " \t"))

    def test_a_huge_text_gets_a_clear_error(self):
        self.assertRegex(self.refused(1, "run", "sentiment", "-", stdin="很" * 100_000), r"context|tokens")

    def test_odd_bytes_do_no_harm(self):
        done = run("run", "--json", "sentiment", "-", stdin=b"\xff\xfe\x00\xe4\xbd\n\xf0\x9f\x98\n")
        for line in done.stdout.splitlines():
            json.loads(line)
        self.assertEqual(len(done.stdout.splitlines()), 2)

    def test_one_line_is_answered_before_the_next_one_comes(self):
        with subprocess.Popen([QAIO, "run", "--json", "sentiment", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as p:
            for text in (SAD, GLAD):
                p.stdin.write(text.encode() + b"\n")
                p.stdin.flush()
                ready, _, _ = select.select([p.stdout], [], [], 30)
                self.assertTrue(ready)
                self.assertEqual(json.loads(p.stdout.readline())["text"], text)
            p.stdin.close()
            self.assertEqual(p.wait(30), 0)

    def test_an_unknown_task_names_those_there_are(self):
        self.assertIn("sentiment", self.refused(2, "run", "sentimnet", "x"))

    def test_wrong_usage_is_2(self):
        self.refused(2, "run")
        self.refused(2, "run", "sentiment", "x", "--temperature", "-1")
        self.refused(2, "run", "sentiment", "x", "--type", "q9")
        self.refused(2, "run", "sentiment", "x", "--type", "q4_k")
        self.refused(2, "run", "sentiment", "x", "--kv-type", "q8_0")
        self.refused(2, "run", "sentiment", "x", "--threads", "0")

    def test_a_model_that_is_not_there_is_1(self):
        self.assertIn("/no/such", self.refused(1, "run", "sentiment", "x", "--model", "/no/such"))

    def test_a_full_disk_is_reported(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([QAIO, "run", "--json", "sentiment", SAD], stdout=full, stderr=subprocess.PIPE, env=environment())
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot write", done.stderr)

    def test_a_closed_output_ends_it_quietly(self):
        command = f"yes {SAD} | '{QAIO}' run --json sentiment - | head -n 1"
        done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, env=environment())
        self.assertEqual(json.loads(done.stdout)["text"], SAD)
        self.assertEqual(done.stderr, b"")

    def test_closed_standard_streams_do_not_spoil_files(self):
        done = subprocess.run(["bash", "-c", f"'{QAIO}' run sentiment x >&- 2>&-"], env=environment(), timeout=60)
        self.assertEqual(done.returncode, 1)


class Batch(Case):
    TEXTS = [SAD, GLAD, "第一行\n第二行,有\"引号\"", " 太好了 ", "不好吃!"]

    def make_csv(self, bom=False):
        out = io.StringIO()
        rows = csv.writer(out)
        rows.writerow(["id", "review", "note"])
        for i, text in enumerate(self.TEXTS):
            rows.writerow([i, text, f"n,{i}"])
        return self.write("in.csv", ("\ufeff" if bom else "") + out.getvalue())

    def read_csv(self, path):
        with open(path, newline="", encoding="utf-8") as f:
            return list(csv.DictReader(f))

    def test_csv_keeps_its_columns_and_gains_label_and_probability(self):
        for bom in (False, True):
            self.ok("batch", "sentiment", self.make_csv(bom), self.folder / "out.csv", "--force")
            rows = self.read_csv(self.folder / "out.csv")
            self.assertEqual(list(rows[0]), ["id", "review", "note", "sentiment_label", "sentiment_probability", "error"])
            self.assertEqual([r["review"] for r in rows], self.TEXTS)
            self.assertEqual([r["id"] for r in rows], list("01234"))
            self.assertEqual([r["sentiment_label"] for r in rows[:2]], ["negative", "positive"])
            self.assertTrue(all(0.5 <= float(r["sentiment_probability"]) <= 1 and not r["error"] for r in rows))

    def test_running_the_result_again_changes_nothing(self):
        self.ok("batch", "sentiment", self.make_csv(), self.folder / "once.csv")
        self.ok("batch", "sentiment", self.folder / "once.csv", self.folder / "twice.csv")
        self.assertEqual((self.folder / "once.csv").read_bytes(), (self.folder / "twice.csv").read_bytes())

    def test_jsonl_keeps_its_keys_and_gains_the_answers(self):
        source = self.write("in.jsonl", "".join(json.dumps({"id": i, "deep": {"x": [1]}, "text": t}) + "\n" for i, t in enumerate(self.TEXTS)))
        self.ok("batch", "sentiment,chat", source, self.folder / "out.jsonl")
        rows = [json.loads(line) for line in (self.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]
        self.assertEqual([(r["id"], r["text"], r["deep"]) for r in rows], [(i, t, {"x": [1]}) for i, t in enumerate(self.TEXTS)])
        for r in rows:
            self.assertEqual(set(r["results"][0]), ANSWER_KEYS)
            self.assertEqual(set(r["results"][1]), {"task", "reply"})

    def test_jsonl_objects_keep_their_bytes(self):
        lines = ['{"at": 1700000000.1234567, "big":12345678901234567, "text":"好" }', '{}', '{ "text" : "\\u574f\\u2028" }']
        self.ok("batch", "sentiment", self.write("in.jsonl", "\n".join(lines)), self.folder / "out.jsonl")
        got = (self.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()
        self.assertTrue(got[0].startswith(lines[0][:-1] + ',"results":[{"task":"sentiment"'), got[0])
        self.assertEqual(json.loads(got[1]), {"error": 'line 2: "text" is no string'})
        self.assertTrue(got[2].startswith(lines[2][:-1] + ',"results":['), got[2])
        self.ok("batch", "sentiment", self.folder / "out.jsonl", self.folder / "again.jsonl")
        again = (self.folder / "again.jsonl").read_text(encoding="utf-8").splitlines()
        self.assertEqual([json.loads(line).get("results") for line in again], [json.loads(line).get("results") for line in got])

    def test_txt_becomes_columns_with_tabs(self):
        source = self.write("in.txt", f"{SAD}\r\n{GLAD}\n")
        self.ok("batch", "sentiment", source, self.folder / "out.txt")
        lines = [line.split("\t") for line in (self.folder / "out.txt").read_text(encoding="utf-8").splitlines()]
        self.assertEqual([(line[0], line[2]) for line in lines], [("负面", SAD), ("正面", GLAD)])

    def test_formats_convert_into_each_other(self):
        self.ok("batch", "sentiment", self.make_csv(), self.folder / "a.jsonl")
        self.ok("batch", "sentiment", self.folder / "a.jsonl", self.folder / "b.csv")
        rows = self.read_csv(self.folder / "b.csv")
        self.assertEqual([r["review"] for r in rows], self.TEXTS)
        out = self.ok("batch", "sentiment", "-", "-", "--format", "txt", "--output-format", "csv", stdin=SAD + "\n" + GLAD)
        self.assertEqual([r["text"] for r in csv.DictReader(io.StringIO(out))], [SAD, GLAD])

    def test_a_bad_row_has_its_error_and_the_run_goes_on(self):
        source = self.write("in.csv", "id,text\n1,好\n2\n3,\n4,\"x\"y\n5,坏\n".encode() + b"6,\xb0\xa1\n")
        done = run("batch", "sentiment", source, self.folder / "out.csv")
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"6 rows", done.stderr)
        self.assertIn(b"4 failed", done.stderr)
        rows = list(csv.DictReader(io.StringIO((self.folder / "out.csv").read_bytes().decode(errors="replace"))))
        self.assertEqual([bool(r["error"]) for r in rows], [False, True, True, True, False, True])
        self.assertEqual([bool(r["sentiment_label"]) for r in rows], [True, False, False, False, True, False])
        self.assertIn("iconv", rows[5]["error"])

    def test_many_rows_come_out_in_order(self):
        texts = [f"第{i}条,{'好' if i % 3 else '差'}评" for i in range(700)]
        self.ok("batch", "sentiment,emotion", self.write("in.txt", "\n".join(texts)), self.folder / "out.jsonl")
        rows = [json.loads(line) for line in (self.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]
        self.assertEqual([r["text"] for r in rows], texts)
        alone = json.loads(self.ok("run", "--json", "sentiment", texts[333]))
        self.assertEqual(rows[333]["results"][0], alone["results"][0])

    def test_nothing_is_overwritten_without_force(self):
        source = self.make_csv()
        kept = self.write("out.csv", "precious")
        self.assertIn("--force", self.refused(2, "batch", "sentiment", source, kept))
        self.refused(2, "batch", "sentiment", source, source, "--force")
        self.assertEqual(kept.read_text(), "precious")
        self.ok("batch", "sentiment", source, kept, "--force")
        self.assertEqual(len(self.read_csv(kept)), len(self.TEXTS))

    def test_a_mistake_leaves_no_file_behind(self):
        source = self.make_csv()
        for args in (("sentimnet", source), ("sentiment", source, "--column", "nothing"), ("sentiment", self.folder / "absent.csv")):
            self.assertNotEqual(run("batch", args[0], args[1], self.folder / "out.csv", *args[2:]).returncode, 0)
            self.assertFalse((self.folder / "out.csv").exists())
        self.assertIn("id, review, note", self.refused(2, "batch", "sentiment", source, self.folder / "out.csv", "--column", "nothing"))
        self.refused(2, "batch", "sentiment", self.write("in.xyz", "a"), self.folder / "out.csv")

    def test_a_full_disk_is_reported(self):
        self.assertIn("cannot write", self.refused(1, "batch", "sentiment", self.make_csv(), "/dev/full", "--output-format", "csv"))

    def test_ctrl_c_ends_with_whole_rows(self):
        source = self.write("in.txt", "\n".join([SAD, GLAD] * 20000))
        p = subprocess.Popen([QAIO, "batch", "sentiment", source, self.folder / "out.jsonl"], stderr=subprocess.PIPE, env=environment())
        out = self.folder / "out.jsonl"
        deadline = time.monotonic() + 60
        while (not out.exists() or out.stat().st_size < 20_000) and time.monotonic() < deadline:
            time.sleep(0.02)
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=30)
        self.assertEqual(p.returncode, 1)
        self.assertIn(b"stopped after", err)
        lines = out.read_text(encoding="utf-8").splitlines()
        self.assertEqual([json.loads(line)["text"] for line in lines], ([SAD, GLAD] * 20000)[:len(lines)])
        self.assertIn(f"stopped after {len(lines)} rows".encode(), err)

    def test_resume_gives_the_bytes_of_an_uninterrupted_run(self):  # promise 6
        texts = [f"第{i}条,\"引号\"\n{'好' if i % 3 else '差'}评" for i in range(40)]
        source = self.folder / "in.csv"
        with open(source, "w", newline="", encoding="utf-8") as f:
            csv.writer(f).writerows([["id", "text"], *enumerate(texts)])
        for suffix in ("csv", "jsonl", "txt"):
            whole = self.folder / f"whole.{suffix}"
            self.ok("batch", "sentiment", source, whole, "--resume")
            data = whole.read_bytes()
            for cut in (0, 3, len(data) // 3, len(data) // 2 + 1, len(data) - 1, len(data)):
                part = self.write(f"part.{suffix}", data[:cut])
                self.ok("batch", "sentiment", source, part, "--resume")
                self.assertEqual(part.read_bytes(), data, (suffix, cut))
        self.refused(2, "batch", "emotion", source, self.folder / "whole.csv", "--resume")
        self.refused(2, "batch", "sentiment", source, self.folder / "whole.csv", "--resume", "--force")
        self.assertEqual((self.folder / "whole.csv").read_bytes()[:3], b"id,")

    def test_progress_lines_come_when_asked_for(self):
        source = self.write("in.txt", "\n".join([SAD] * 5))
        done = run("batch", "sentiment", source, "-", "--quiet")
        self.assertEqual(done.stderr, b"")
        self.assertIn(b"5 rows", run("batch", "sentiment", source, "-").stderr)


class Tasks(Case):
    def test_list_and_show_say_what_a_task_is(self):
        self.assertRegex(self.ok("tasks"), r"(?m)^sentiment +label +Sentiment: .*正面.*负面")
        tasks = {t["name"]: t for t in json.loads(self.ok("tasks", "list", "--json"))}
        self.assertEqual([label["id"] for label in tasks["sentiment"]["labels"]], ["positive", "negative"])
        self.assertIn("情绪分类", self.ok("tasks", "show", "sentiment"))
        self.assertIn("sentiment", self.refused(1, "tasks", "show", "nothing"))

    def test_show_says_what_holds_an_answer(self):
        (self.folder / "next.yaml").write_text("name: next\nversion: 1\ntitle: {zh: 下一步, en: Next}\nkind: generate\nsystem: 下一步\n"
                                               "constraint: {kind: one_of, values: [升级处理, 安抚]}\n")
        keywords = {"kind": "keywords", "separator": "、", "max_items": 5, "max_characters": 16}
        self.assertEqual(json.loads(self.ok("tasks", "show", "keywords", "--json"))["constraint"], keywords)
        self.assertRegex(self.ok("tasks", "show", "keywords"), r"held to:\n.*1 to 5, each of at most 16 characters, \"、\" between")
        self.assertRegex(self.ok("tasks", "show", "next", "--tasks", self.folder), r"held to:\n  升级处理\n  安抚\n")
        self.assertEqual(json.loads(self.ok("tasks", "show", "next", "--json", "--tasks", self.folder))["constraint"],
                         {"kind": "one_of", "values": ["升级处理", "安抚"]})
        self.assertNotIn("held to", self.ok("tasks", "show", "summary"))

    def test_show_says_which_labels_choose_a_prompt_and_what_comes_first_in_a_crisis(self):
        self.assertRegex(self.ok("tasks", "show", "service"), r"\n  soothe: sentiment=negative, intent=complaint\n    你是")
        self.assertRegex(self.ok("tasks", "show", "crisis"), r"where yes has a probability of 0\.1 or more.*\n  .*12356")
        self.assertNotRegex(self.ok("tasks", "show", "chat"), "replaces|comes before")

    def test_the_tests_of_the_task_files_pass(self):
        self.assertRegex(self.ok("tasks", "test", "sentiment"), r"\d+ passed, 0 failed\n$")

    def test_a_directory_adds_tasks_and_a_failing_test_is_1(self):
        (self.folder / "my.yaml").write_text(
            "name: my\nversion: 1\ntitle: {zh: 我的, en: Mine}\nkind: label\nlayout: own\nsystem: 只输出:好 或 坏\n"
            "labels:\n  - {id: good, text: 好}\n  - {id: bad, text: 坏}\ntests:\n  - {text: 好, expect: good}\n  - {text: 好, expect: bad}\n", encoding="utf-8")
        self.assertIn("my", self.ok("tasks", "list", "--tasks", self.folder))
        done = run("tasks", "test", "my", "--json", "--tasks", self.folder)
        self.assertEqual((done.returncode, json.loads(done.stdout)["passed"], json.loads(done.stdout)["failed"]), (1, 1, 1))
        (self.folder / "bad.yaml").write_text("name: bad\nkind: lable\n")
        self.assertIn("bad.yaml", self.refused(1, "tasks", "list", "--tasks", self.folder))


class Inspect(Case):
    def test_a_line_that_cannot_be_served_yields_an_error_and_the_rest_goes_on(self):
        lines = ["nonsense", "[]", "{}", '{"ids":[-1]}', '{"ids":[99999999]}', '{"ids":[1.5]}', '{"ids":[]}', '{"ids":"x"}', '{"ids":[1],"positions":"some"}',
                 '{"ids":[1,2],"positions":"last"}', "", '{"ids":[1],"ids":[2]}']
        done = run("inspect", "logits", "--model", TINY, stdin="\n".join(lines))
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(done.returncode, 0)
        self.assertEqual(["error" in a for a in answers], [line != lines[9] for line in lines])

    def test_limits_of_score_and_generate_are_errors_of_the_line(self):
        long = {"ids": [1] * 100_000, "n": 1, "continuations": [[1]]}
        for call in ("score", "generate", "logits"):
            [answer] = inspect(call, [long], "--model", TINY)
            self.assertIn("context", answer["error"])
        for bad in ({"ids": [1]}, {"ids": [1], "n": -1}, {"ids": [1], "n": "2"}, {"ids": [1], "n": 10**9}, {"ids": [], "n": 1}):
            [answer] = inspect("generate", [bad], "--model", TINY)
            self.assertIn("error", answer)
        self.assertEqual(inspect("generate", [{"ids": [1], "n": 0}], "--model", TINY), [{"ids": []}])
        for bad in ({"ids": [1], "continuations": [[]]}, {"ids": [1], "continuations": [[-5]]}, {"ids": [1]}, {"ids": [1], "continuations": 5}):
            [answer] = inspect("score", [bad], "--model", TINY)
            self.assertIn("error", answer)

    def test_more_continuations_than_one_job_takes_are_scored(self):
        continuations = [[i % 300, (i * 7) % 300] for i in range(600)]
        [many] = inspect("score", [{"ids": [1, 2, 3], "continuations": continuations}], "--model", TINY)
        [few] = inspect("score", [{"ids": [1, 2, 3], "continuations": continuations[500:502]}], "--model", TINY)
        self.assertEqual(len(many["logprobs"]), 600)
        self.assertEqual(many["logprobs"][500:502], few["logprobs"])

    def test_logits_scores_and_greedy_agree(self):
        ids = [5, 6, 7]
        [logits] = inspect("logits", [{"ids": ids, "positions": "all"}], "--model", TINY)
        [last] = inspect("logits", [{"ids": ids}], "--model", TINY)
        [greedy] = inspect("generate", [{"ids": ids, "n": 1}], "--model", TINY)
        self.assertEqual(logits["logits"][-1], last["logits"][0])
        self.assertEqual(greedy["ids"], [max(range(len(last["logits"][0])), key=last["logits"][0].__getitem__)])

    def test_a_model_that_cannot_be_loaded_is_1_with_the_reason(self):
        path = self.write("broken.gguf", b"GGUF\x03\x00\x00\x00")
        self.assertIn("broken.gguf", self.refused(1, "inspect", "logits", "--model", path))

    def test_the_embedded_model_needs_no_option(self):
        [answer] = inspect("tokenize", [{"text": "你好"}])
        [back] = inspect("detokenize", [answer])
        self.assertEqual("".join(back["pieces"]) + back["flush"], "你好")
        self.assertEqual(json.loads(self.ok("inspect", "model"))["name"], "qaio-mini-zh")

    def test_texts_come_as_base64_too(self):
        [a, b, c] = inspect("tokenize", [{"text": "hi"}, {"text_b64": "aGk="}, {"text_b64": "!"}])
        self.assertEqual(a, b)
        self.assertIn("error", c)


class Quantize(Case):
    def test_every_type_gives_one_file_that_is_a_whole_model(self):
        for kind in ("f32", "f16", "bf16", "q8_0", "q4_0"):
            out = self.folder / f"{kind}.gguf"
            self.ok("quantize", TINY, out, "--type", kind)
            description = json.loads(self.ok("inspect", "model", "--model", out))
            self.assertEqual(description["type"], kind)
            [answer] = inspect("logits", [{"ids": [1, 2]}], "--model", out)
            self.assertEqual(len(answer["logits"][0]), description["vocab_size"])

    def test_float32_keeps_every_value(self):
        out = self.folder / "f32.gguf"
        self.ok("quantize", TINY, out, "--type", "f32")
        request = [{"ids": [1, 2, 3], "positions": "all"}]
        self.assertEqual(inspect("logits", request, "--model", out), inspect("logits", request, "--model", TINY))
        text = [{"text": "你好 <|im_start|> hello"}]
        self.assertEqual(inspect("tokenize", text, "--model", out), inspect("tokenize", text, "--model", TINY))

    def test_wrong_usage_and_failures_are_told_apart(self):
        self.refused(2, "quantize", TINY, self.folder / "x.gguf")
        self.refused(2, "quantize", TINY, "--type", "q8_0")
        self.refused(2, "quantize", TINY, self.folder / "x.gguf", "--type", "q4_k")
        self.refused(1, "quantize", self.folder, self.folder / "x.gguf", "--type", "q8_0")
        self.refused(1, "quantize", TINY, self.folder / "no" / "x.gguf", "--type", "q8_0")
        self.assertEqual(list(self.folder.iterdir()), [])


class Doctor(Case):
    def test_the_self_test_passes(self):
        report = json.loads(self.ok("doctor", "--json"))
        self.assertTrue(all(check["passed"] for check in report["checks"]))
        self.assertEqual(len(report["checks"]), 3)
        self.assertGreaterEqual(report["machine"]["threads"], 1)
        people = self.ok("doctor")
        self.assertIn("All is well", people)
        self.assertRegex(people, r"\n  kernels +ref\b[^\[\"]*\n")
        self.assertRegex(people, r"\n  calibrated +none\n")

    def test_every_instruction_set_of_the_machine_can_be_forced(self):
        for name in json.loads(self.ok("doctor", "--json"))["machine"]["kernels"]:
            self.assertEqual(json.loads(self.ok("doctor", "--json", QAIO_CPU=name))["model"]["kernels"], name)
        self.assertIn("ref", self.refused(1, "doctor", QAIO_CPU="z80"))

    def test_a_broken_model_is_named(self):
        done = run("doctor", "--model", self.write("x.gguf", b"nothing"))
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"x.gguf", done.stderr)


class Completion(Case):
    def test_bash_completes_commands_options_and_tasks(self):
        script = GOLDEN.parents[1] / "packaging" / "completion" / "qaio.bash"
        ask = f"source '{script}'; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _qaio; echo \"${{COMPREPLY[@]}}\""
        for words, wanted in ((["q"], "quantize"), (["run", "emo"], "emotion"), (["serve", "--po"], "--port"), (["inspect", "dequ"], "dequant")):
            done = subprocess.run(["bash", "-c", ask, "bash", "-", QAIO, *words], capture_output=True, text=True, timeout=60, env=environment())
            self.assertEqual(done.stdout.strip(), wanted, done.stderr)


class Models(Case):
    def test_an_empty_cache_still_has_the_embedded_model(self):
        listing = json.loads(self.ok("models", "--json", QAIO_HOME=str(self.folder)))
        self.assertEqual((listing["embedded"]["name"], listing["models"]), ("qaio-mini-zh", []))
        self.assertIn("qwen2.5-0.5b-instruct", [k["name"] for k in listing["known"]])
        named = self.ok("run", "--json", "sentiment", SAD, "--model", "qaio-mini-zh", QAIO_HOME=str(self.folder))
        self.assertEqual(named, self.ok("run", "--json", "sentiment", SAD))
        self.assertIn("qaio pull", self.refused(1, "run", "sentiment", SAD, "--model", "qwen3-0.6b", QAIO_HOME=str(self.folder)))

    def test_pull_fetches_shows_and_finds(self):
        hub = subprocess.Popen([sys.executable, str(GOLDEN.parent / "hub" / "fake_hub.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (hub.stdin.close(), hub.wait(10), hub.stdout.close()))
        port = hub.stdout.readline().split()[0]
        where = {"QAIO_HOME": str(self.folder), "HF_ENDPOINT": f"http://127.0.0.1:{port}", "MODELSCOPE_ENDPOINT": f"http://127.0.0.1:{port}"}
        path = self.ok("pull", "t/plain", **where).strip()
        self.assertTrue((pathlib.Path(path) / "config.json").exists())
        again = json.loads(self.ok("pull", "t/plain", "--json", **where))
        self.assertEqual(again["path"], path)
        self.assertEqual([m["name"] for m in json.loads(self.ok("models", "--json", **where))["models"]], ["t/plain"])
        self.assertIn("safetensors", self.refused(1, "inspect", "model", "--model", "t/plain", **where))  # found, but no model
        self.ok("pull", "t/other", "--source", "modelscope", **where)
        self.refused(1, "pull", "t/wronghash", **where)
        self.refused(1, "pull", "t/missing", **where)
        self.refused(2, "pull", "t/plain", "--source", "nowhere", **where)
        self.refused(2, "pull", **where)


class Serve(Case):
    def start(self, *args):
        p = subprocess.Popen([QAIO, "serve", "--port", "0", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        self.addCleanup(lambda: (p.poll() is None and p.kill(), p.wait(10), p.stdout.close(), p.stderr.close()))
        ready, _, _ = select.select([p.stdout], [], [], 60)
        self.assertTrue(ready)
        line = p.stdout.readline().decode()
        return p, int(re.search(r"http://127\.0\.0\.1:(\d+)/", line).group(1))

    def test_it_prints_its_address_answers_and_ends_cleanly(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            p, port = self.start()
            http_client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            http_client.request("GET", "/healthz")
            self.assertEqual(json.loads(http_client.getresponse().read())["status"], "ok")
            http_client.close()
            p.send_signal(number)
            self.assertEqual(p.wait(20), 0)

    def test_an_answer_over_http_is_that_of_the_command_line(self):
        _, port = self.start()
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        client.request("POST", "/v1/tasks/sentiment", json.dumps({"text": SAD}), {"Content-Type": "application/json"})
        answer = json.loads(client.getresponse().read())
        client.close()
        self.assertEqual(answer, json.loads(self.ok("run", "--json", "sentiment", SAD))["results"][0])

    def test_a_taken_port_is_said(self):
        _, port = self.start()
        self.assertIn(str(port), self.refused(1, "serve", "--port", port))

    def test_a_public_address_needs_a_key_or_insecure(self):  # promise 7
        self.assertIn("--api-key-file", self.refused(2, "serve", "--host", "0.0.0.0", "--port", "0"))

    def test_an_empty_or_missing_key_file_is_refused(self):
        self.refused(1, "serve", "--api-key-file", self.write("key", "\n"))
        self.refused(1, "serve", "--api-key-file", self.folder / "absent")


class Chat(Case):
    def test_pipes_get_mood_and_reply_of_each_line(self):
        out = self.ok("chat", "--seed", "1", stdin=f"{SAD}\n{GLAD}\n")
        first, second = out.split("\n\n")
        self.assertRegex(first, r"^😢 负面 \d+\.\d %\n.")
        self.assertRegex(second, r"^😄 正面 \d+\.\d %\n.")

    def test_commands_of_the_conversation(self):
        out = self.ok("chat", "--no-mood", "--seed", "1", stdin=f"/help\n/mood on\n{SAD}\n/mood off\n/cler\n/clear\n{GLAD}\n/exit\nnever read\n")
        self.assertIn("/clear", out)
        self.assertIn("did you mean /clear?\n", out)
        self.assertEqual(out.count("%"), 1)

    def test_a_long_conversation_goes_on(self):
        out = self.ok("chat", "--no-mood", "--max-tokens", "40", stdin="\n".join(["今天天气很好,我们去公园散步吧,你觉得怎么样?"] * 30))
        self.assertEqual(len([line for line in out.split("\n\n") if line.strip()]), 30)

    def terminal(self, keys, *args):
        """Plays keys, a list of (what must come on the screen next, keys to press then), on a terminal; gives the screen and the exit status."""
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(QAIO, [QAIO, "chat", *args], environment(TERM="xterm"))
        screen, seen = b"", 0

        def read_more():
            nonlocal screen
            ready, _, _ = select.select([fd], [], [], 60)
            self.assertTrue(ready, screen.decode(errors="replace"))
            try:
                data = os.read(fd, 65536)
            except OSError:
                data = b""
            screen += data
            return bool(data)

        for wait_for, press in keys:
            while wait_for.encode() not in screen[seen:]:
                self.assertTrue(read_more(), (wait_for, screen.decode(errors="replace")))
            seen = screen.index(wait_for.encode(), seen) + len(wait_for.encode())
            os.write(fd, press)
        while read_more():
            pass
        _, status = os.waitpid(pid, 0)
        os.close(fd)
        return screen.decode(), os.waitstatus_to_exitcode(status)

    def test_a_line_is_edited_by_whole_characters(self):
        typed = "我很不开心x".encode() + b"\x7f" + b"\x1b[D" * 2 + b"\x7f" + b"\x1b[F" + "!".encode() + b"\r"
        keys = [("you> ", typed), ("%", b""), ("you> ", b"\x1b[A"), ("我很开心!", b"\r"), ("%", b""), ("you> ", b"\x04")]
        screen, status = self.terminal(keys, "--seed", "1")
        self.assertEqual(status, 0)
        self.assertEqual(len(re.findall(r"\d+\.\d %", screen)), 2)

    def test_a_long_paste_is_one_line(self):
        text = "今天天气很好\n" * 30
        keys = [("you> ", b"\x1b[200~" + text.encode() + b"\x1b[201~\r"), ("%", b""), ("you> ", b"\x04")]
        screen, status = self.terminal(keys, "--seed", "1")
        self.assertEqual((status, len(re.findall(r"\d+\.\d %", screen))), (0, 1))

    def test_ctrl_c_at_the_prompt_warns_then_leaves(self):
        _, status = self.terminal([("you> ", b"\x03"), ("again", b""), ("you> ", b"\x03")])
        self.assertEqual(status, 0)

    def test_ctrl_c_stops_a_reply(self):
        keys = [("you> ", "讲一个很长的故事".encode() + b"\r"), ("%", b"\x03"), ("you> ", b"/exit\r")]
        _, status = self.terminal(keys, "--temperature", "2", "--top-p", "1", "--max-tokens", "400", "--type", "f32", "--threads", "1")
        self.assertEqual(status, 0)


if __name__ == "__main__":
    unittest.main()
