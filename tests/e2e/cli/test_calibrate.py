"""qaio tasks calibrate from outside, with a cache directory of its own and texts of its own."""
import csv
import json
import math
import pathlib
import shutil
import tempfile
import unittest

from qaio import run

GLAD = ["味道真不错", "送得很快,好评", "服务很好,下次还来", "包装很用心", "菜量足,很满意", "老板人很好", "太好吃了", "价格实惠", "汤很鲜美", "会再点的",
        "今天心情很好", "终于考上了", "旅行非常开心"]
SAD = ["等了两个小时", "饭都凉了", "送错了,也没人管", "太咸了,没法吃", "再也不点了", "态度恶劣", "少了一份菜", "包装全破了", "肉是臭的", "又贵又难吃",
       "今天心情很差", "考试没考好", "手机丢了,难过"]


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.home = self.folder / "home"
        self.stored = self.home / "calibration" / "sentiment-qaio-mini-zh.json"

    def qaio(self, status, *args):
        done = run(*args, QAIO_HOME=str(self.home))
        self.assertEqual(done.returncode, status, (done.stdout, done.stderr))
        return done

    def ok(self, *args):
        return self.qaio(0, *args).stdout.decode()

    def refused(self, status, *args):
        text = self.qaio(status, *args).stderr.decode()
        self.assertTrue(text.startswith("qaio: "), text)
        return text

    def write(self, rows, name="labelled.csv", header=("text", "label")):
        path = self.folder / name
        with open(path, "w", encoding="utf-8", newline="") as f:
            writer = csv.writer(f)
            writer.writerow(header)
            writer.writerows(rows)
        return path


class Calibrate(Case):
    def rows(self, glad="positive", sad="negative"):
        return [row for pair in zip(GLAD, SAD) for row in ((pair[0], glad), (pair[1], sad))]

    def answer(self):
        return json.loads(self.ok("run", "--json", "sentiment", "饭都凉了"))["results"][0]

    def test_answers_are_calibrated_from_then_on_until_it_is_removed(self):
        before = self.answer()
        self.assertFalse(before["calibrated"])
        self.assertEqual(before["probabilities"], before["raw"])
        text = self.ok("tasks", "calibrate", "sentiment", self.write(self.rows()))
        for word in ("accuracy", "macro-F1", "ECE", "Brier", "log loss", "kept at 5 % error", "Temperature", str(self.stored)):
            self.assertIn(word, text)
        after = self.answer()
        self.assertTrue(after["calibrated"])
        self.assertEqual(after["raw"], before["raw"])
        self.assertNotEqual(after["probabilities"], before["probabilities"])
        self.assertAlmostEqual(sum(after["probabilities"].values()), 1)
        self.assertIn("26 texts", self.ok("tasks", "show", "sentiment"))
        self.assertTrue(json.loads(self.ok("tasks", "show", "sentiment", "--json"))["calibration"]["used"])
        self.assertEqual(json.loads(self.ok("doctor", "--json"))["model"]["calibrated"], ["sentiment"])
        self.assertIn(str(self.stored), self.ok("tasks", "calibrate", "sentiment", "--remove"))
        self.assertEqual(self.answer(), before)
        self.assertFalse(json.loads(self.ok("tasks", "calibrate", "sentiment", "--remove", "--json"))["removed"])

    def test_json_has_the_figures_before_and_after(self):
        report = json.loads(self.ok("tasks", "calibrate", "sentiment", self.write(self.rows()), "--json"))
        self.assertEqual(report["labels"], ["positive", "negative"])
        self.assertEqual((report["task"], report["model"], report["rows"], report["skipped"]), ("sentiment", "qaio-mini-zh", 26, 0))
        self.assertEqual(report["stored"], str(self.stored))
        for quality in (report["before"], report["after"]):
            self.assertEqual(set(quality), {"accuracy", "macro_f1", "ece", "brier", "log_loss", "coverage", "confusion"})
            self.assertEqual([sum(row) for row in quality["confusion"]], [13, 13])
            right = sum(quality["confusion"][i][i] for i in range(2))
            self.assertAlmostEqual(quality["accuracy"], right / 26)
            self.assertEqual([c["risk"] for c in quality["coverage"]], [0.01, 0.02, 0.05, 0.1])
        stored = json.loads(self.stored.read_text(encoding="utf-8"))
        self.assertAlmostEqual(stored["temperature"], report["temperature"], 12)
        self.assertEqual(set(stored["biases"]), {"positive", "negative"})

    def test_the_result_does_not_depend_on_how_labels_are_written_or_on_threads(self):
        wanted = None
        for glad, sad in (("positive", "negative"), ("正面", "负面"), ("1", "0"), (" positive ", "负面")):
            for threads in (1, 2):
                report = json.loads(self.ok("tasks", "calibrate", "sentiment", self.write(self.rows(glad, sad)), "--json", "--dry-run",
                                            "--threads", threads))
                wanted = wanted or report
                self.assertEqual(report, wanted)
        path = self.folder / "labelled.jsonl"
        lines = [json.dumps({"n": 1, "评论": text, "y": int(label)}, ensure_ascii=False) for text, label in self.rows("1", "0")]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.assertEqual(json.loads(self.ok("tasks", "calibrate", "sentiment", path, "--json", "--dry-run", "--label-column", "y")), wanted)

    def test_a_dry_run_stores_nothing(self):
        self.assertIn("Not stored", self.ok("tasks", "calibrate", "sentiment", self.write(self.rows()), "--dry-run"))
        self.assertFalse(self.home.exists())

    def test_rows_without_a_label_or_a_text_are_left_out_and_named(self):
        rows = self.rows() + [("还行", "soso"), ("", "positive"), ("好", "")]
        done = self.qaio(0, "tasks", "calibrate", "sentiment", self.write(rows), "--json", "--dry-run")
        self.assertIn('3 rows were left out; the first: row 27: "soso" is no label of sentiment', done.stderr.decode())
        report = json.loads(done.stdout)
        self.assertEqual((report["rows"], report["skipped"]), (26, 3))

    def test_below_the_threshold_calibrated_numbers_decide(self):
        tasks = self.folder / "tasks"
        tasks.mkdir()
        task = "\n".join(["name: mood", "version: 3", "title: {zh: 情绪, en: Mood}", "kind: label", "system: 判断情绪。只输出一个词：正面 / 负面。", "labels:",
                          "  - {id: positive, text: 正面}", "  - {id: negative, text: 负面}", "abstain_below: %s", ""])
        (tasks / "mood.yaml").write_text(task % 0, encoding="utf-8")
        # Labels without any relation to the texts: sure of nothing.
        rows = [(text, ("positive", "negative")[i % 2]) for i, text in enumerate((GLAD + SAD) * 8)]
        self.ok("tasks", "calibrate", "mood", self.write(rows), "--tasks", tasks)
        (tasks / "mood.yaml").write_text(task % 0.9, encoding="utf-8")
        answer = json.loads(self.ok("run", "--json", "mood", "太好吃了", "--tasks", tasks))["results"][0]
        self.assertTrue(answer["calibrated"])
        self.assertEqual(answer["label"], "unsure")
        self.assertLess(answer["probability"], 0.9)
        (tasks / "mood.yaml").write_text(task.replace("version: 3", "version: 4") % 0, encoding="utf-8")
        self.assertFalse(json.loads(self.ok("run", "--json", "mood", "太好吃了", "--tasks", tasks))["results"][0]["calibrated"])
        self.assertIn("another version of the task", self.ok("tasks", "show", "mood", "--tasks", tasks))

    def test_a_file_that_does_not_hold_is_ignored_with_a_note(self):
        self.ok("tasks", "calibrate", "sentiment", self.write(self.rows()))
        good = self.stored.read_text(encoding="utf-8")
        for text, why in ((good.replace('"q8_0"', '"f32"'), "other weights"), (good[:100], "no JSON"), ("", "no JSON"),
                          (good.replace('"temperature": ', '"temperature": -'), "temperature")):
            self.stored.write_text(text, encoding="utf-8")
            self.assertFalse(self.answer()["calibrated"])
            self.assertIn("ignored: ", self.ok("tasks", "show", "sentiment"))
            self.assertIn(why, self.ok("tasks", "show", "sentiment"))
            self.assertIn("calibration of sentiment is ignored", self.ok("doctor"))

    def test_what_cannot_be_calibrated_is_refused_with_a_reason(self):
        path = self.write(self.rows())
        self.assertIn("at least 20", self.refused(1, "tasks", "calibrate", "sentiment", self.write(self.rows()[:10], "few.csv")))
        self.assertIn("same label", self.refused(1, "tasks", "calibrate", "sentiment", self.write(self.rows()[::2] * 2, "one.csv")))
        self.assertIn("not a label task", self.refused(2, "tasks", "calibrate", "chat", path))
        self.assertIn("sentiment", self.refused(1, "tasks", "calibrate", "sentimnet", path))
        self.assertIn("--label-column", self.refused(2, "tasks", "calibrate", "sentiment", self.write(self.rows(), "x.csv", ("text", "y"))))
        self.assertIn("nothere.csv", self.refused(1, "tasks", "calibrate", "sentiment", self.folder / "nothere.csv"))
        self.assertIn("csv or jsonl", self.refused(2, "tasks", "calibrate", "sentiment", self.write(self.rows(), "x.txt")))
        self.refused(2, "tasks", "calibrate", "sentiment")
        self.refused(2, "tasks", "calibrate", "sentiment", path, "--remove")
        self.assertFalse(self.home.exists())

    def test_a_folder_that_cannot_be_written_is_named(self):
        self.home.write_text("a file", encoding="utf-8")
        self.assertIn(str(self.home), self.refused(1, "tasks", "calibrate", "sentiment", self.write(self.rows())))

class BatchCalibration(Case):
    """qaio batch --batch-calibration: a running mean per label is taken off, and OUT is its state."""
    BATCH = ("batch", "sentiment,emotion")

    def setUp(self):
        super().setUp()
        texts = [text for pair in zip(SAD, GLAD) for text in pair]
        texts[5] = ""  # a row that fails
        self.source = self.write(list(enumerate(texts)), "in.csv", ("id", "text"))

    def made(self, name, *more):
        out = self.folder / name
        self.ok(*self.BATCH, self.source, out, "--batch-calibration", "--quiet", *more)
        return out

    def answers(self, path):
        return [json.loads(line).get("results") for line in path.read_text(encoding="utf-8").splitlines()]

    def test_the_running_mean_of_each_label_is_taken_off(self):
        rows = self.answers(self.made("out.jsonl"))
        self.ok(*self.BATCH, self.source, self.folder / "plain.jsonl")
        sums, n = {}, 0
        for row, plain in zip(rows, self.answers(self.folder / "plain.jsonl")):
            if "error" in row[0]:
                continue
            answer, n = row[0], n + 1
            self.assertTrue(answer["calibrated"])
            self.assertEqual(answer["calibration"], "batch")
            self.assertEqual(answer["raw"], plain[0]["raw"])
            self.assertNotIn("calibration", plain[0])
            for label, p in answer["raw"].items():
                sums[label] = sums.get(label, 0) + math.log(p)
            weights = {label: math.exp(math.log(p) - (sums[label] + 4 * math.log(1 / 2)) / (n + 4)) for label, p in answer["raw"].items()}
            for label, p in answer["probabilities"].items():
                self.assertAlmostEqual(p, weights[label] / sum(weights.values()), 12)
            self.assertEqual(answer["label"], max(answer["probabilities"], key=answer["probabilities"].get))
        self.assertEqual(n, len(rows) - 1)

    def test_csv_has_both_probabilities(self):
        with open(self.made("out.csv"), newline="", encoding="utf-8") as f:
            rows = list(csv.DictReader(f))
        for row, answer in zip(rows, self.answers(self.made("out.jsonl"))):
            if row["error"]:
                self.assertEqual(row["sentiment_raw_positive"], "")
                continue
            self.assertEqual(float(row["sentiment_raw_positive"]), answer[0]["raw"]["positive"])
            self.assertEqual(row["emotion_probability"], f"{answer[1]['probability']:.6f}")

    def test_a_resumed_run_gives_the_bytes_of_an_uninterrupted_one(self):  # promise 6
        for suffix in ("csv", "jsonl"):
            data = self.made(f"whole.{suffix}", "--threads", "1").read_bytes()
            for cut in (0, 3, 200, len(data) // 3, len(data) // 2, len(data) - 1, len(data)):
                (self.folder / f"part.{suffix}").write_bytes(data[:cut])
                self.assertEqual(self.made(f"part.{suffix}", "--resume").read_bytes(), data, (suffix, cut))

    def test_what_cannot_be_gone_on_with_is_refused(self):
        for suffix in ("csv", "jsonl"):
            plain = self.folder / f"plain.{suffix}"
            self.ok(*self.BATCH, self.source, plain)
            self.refused(2, *self.BATCH, self.source, plain, "--resume", "--batch-calibration")
        other = self.made("other.jsonl")
        self.assertIn("other tasks", self.refused(2, "batch", "emotion", self.source, other, "--resume", "--batch-calibration"))
        other.write_text(other.read_text(encoding="utf-8").replace('"raw":{"positive":0', '"raw":{"positive":7'), encoding="utf-8")
        self.assertIn("row 1 ", self.refused(2, *self.BATCH, self.source, other, "--resume", "--batch-calibration"))
        self.assertIn("csv or jsonl", self.refused(2, *self.BATCH, self.source, self.folder / "x.txt", "--batch-calibration"))
        self.assertIn("none of the tasks", self.refused(2, "batch", "keywords", self.source, self.folder / "x.csv", "--batch-calibration"))
        self.assertFalse((self.folder / "x.txt").exists() or (self.folder / "x.csv").exists())


if __name__ == "__main__":
    unittest.main()
