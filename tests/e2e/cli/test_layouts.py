"""The layouts of label tasks on the command line: --layout, and what `bench tasks` reports."""
import json
import tempfile
import unittest
from pathlib import Path

from qaio import run

TEXT = "等了两个小时，饭都凉了"
FIVE = "sentiment,emotion,intent,urgency,crisis"


def answers(tasks, *options):
    done = run("run", "--json", tasks, TEXT, *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["results"]


class Layouts(unittest.TestCase):
    def test_a_layout_reads_otherwise_and_each_task_as_it_does_alone(self):
        own = answers(FIVE)
        self.assertEqual(own, answers(FIVE, "--layout", "own"))
        for layout in ("shared", "probe"):
            together = answers(FIVE, "--layout", layout)
            self.assertEqual(together, [answers(task, "--layout", layout)[0] for task in FIVE.split(",")])
            self.assertNotEqual(own, together)

    def test_a_task_file_may_choose_its_layout(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "mine.yaml").write_text('name: mine\nversion: 1\ntitle: {zh: 我的, en: Mine}\nkind: label\nlayout: shared\n'
                                                    'opening: "评价："\nlabels: [{id: a, text: 好}, {id: b, text: 坏}]\n', encoding="utf-8")
            found = answers("mine", "--tasks", folder)[0]
            self.assertAlmostEqual(sum(found["probabilities"].values()), 1)
            refused = run("run", "mine", TEXT, "--tasks", folder, "--layout", "own")
            self.assertEqual(refused.returncode, 1)
            self.assertIn("system", refused.stderr.decode())

    def test_no_such_layout_is_wrong_usage(self):
        for name in ("plain", "best", ""):
            self.assertEqual(run("run", "sentiment", TEXT, "--layout", name).returncode, 2)


class BenchTasks(unittest.TestCase):
    def test_times_and_accuracy_of_every_layout_are_reported(self):
        report = json.loads(run("bench", "tasks", "--json", "-r", 1).stdout)
        seen = {(row["layout"], row["tasks"], row["reply"]) for row in report["times"]}
        for layout in ("own", "shared", "probe"):
            for n in (1, 5):
                self.assertLessEqual({(layout, n, False), (layout, n, True)}, seen)
        self.assertTrue(all(row["ms"] > 0 and row["ratio"] > 0 for row in report["times"]))
        self.assertEqual([row["task"] for row in report["accuracy"]], FIVE.split(","))
        self.assertEqual(report["accuracy"][0]["own"], 1)

    def test_a_file_of_labelled_texts_is_judged(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "some.csv"
            file.write_text("text,label\n送餐很快，味道也不错,positive\n等了两个小时，饭都凉了,负面\n没有标签,x\n,positive\n", encoding="utf-8")
            report = json.loads(run("bench", "tasks", "sentiment", file, "--json").stdout)
            self.assertEqual(report["times"], [])
            self.assertEqual((report["accuracy"][0]["texts"], report["accuracy"][0]["own"]), (2, 1))
            self.assertEqual(run("bench", "tasks", "chat", file).returncode, 2)
            file.write_text("text,mood\na,b\n", encoding="utf-8")
            self.assertEqual(run("bench", "tasks", "sentiment", file).returncode, 2)
        self.assertEqual(run("bench", "tasks", "sentiment", file).returncode, 1)
        self.assertEqual(run("bench", "tasks", "sentiment").returncode, 2)


if __name__ == "__main__":
    unittest.main()
