"""qaio bench: what it reports, not how fast it is."""
import json
import os
import pty
import signal
import subprocess
import unittest

from qaio import QAIO, environment, run

ALL = ["prefill 16", "prefill 32", "prefill 128", "prefill 511", "decode at 0", "streams 1", "streams 2", "streams 4", "streams 8", "streams 16",
       "labels 1 text 20", "labels 5 text 20", "labels 5 shared text 20", "labels 1 text 200", "labels 5 text 200", "labels 5 shared text 200",
       "mood and first token", "start to first answer"]


class Bench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        done = run("bench", "--json", "-r", 1)
        assert done.returncode == 0, done.stderr
        cls.report = json.loads(done.stdout)
        cls.rows = {row["what"]: row for row in cls.report["results"]}

    def test_every_figure_is_there_in_order(self):
        self.assertEqual([row["what"] for row in self.report["results"]], ALL)
        self.assertTrue(self.report["complete"])

    def test_rates_are_tokens_over_time(self):
        for what, n in (("prefill 128", 128), ("decode at 0", 1), ("streams 8", 8 * 32)):
            row = self.rows[what]
            self.assertAlmostEqual(row["tokens_per_second"] * row["ms"] / 1000, n, places=6)

    def test_bounds_stand_beside_figures_of_the_model_only(self):
        for what, row in self.rows.items():
            if what == "start to first answer":
                self.assertNotIn("bound_ms", row)
                continue
            self.assertGreater(row["bound_ms"], 0, what)
            self.assertAlmostEqual(row["share"], row["bound_ms"] / row["ms"], places=6)
            self.assertIn(row["bound_by"], ("bytes", "operations"))

    def test_more_work_has_a_higher_bound(self):
        bounds = [self.rows[what]["bound_ms"] for what in ("prefill 16", "prefill 32", "prefill 128", "prefill 511")]
        self.assertEqual(bounds, sorted(bounds))
        self.assertLess(self.rows["labels 1 text 20"]["bound_ms"], self.rows["labels 5 text 200"]["bound_ms"])

    def test_limits_are_measured_for_each_number_of_threads(self):
        limits = self.report["limits"]
        self.assertEqual(limits["read"][0]["threads"], 1)
        self.assertEqual(limits["read"][-1]["threads"], self.report["threads"])
        self.assertTrue(all(read["bytes_per_second"] > 1e8 for read in limits["read"]))
        self.assertGreater(limits["weights_bytes_per_second"], 1e8)
        self.assertTrue(all(peak["operations_per_second"] > 1e8 for peak in limits["peaks"]))

    def test_memory_holds_weights_and_kv(self):
        memory = self.report["memory"]
        self.assertGreater(memory["weight_bytes"], 1 << 20)
        self.assertGreater(memory["kv_bytes"], 0)
        self.assertGreater(memory["resident_bytes"], memory["weight_bytes"] + memory["kv_bytes"])


class Options(unittest.TestCase):
    def test_only_what_was_asked_for_is_measured(self):
        report = json.loads(run("bench", "--json", "-r", 1, "--only", "prefill,start").stdout)
        self.assertEqual({row["what"].split()[0] for row in report["results"]}, {"prefill", "start"})
        self.assertEqual(report["limits"]["read"], [])
        self.assertNotIn("bound_ms", report["results"][0])

    def test_repeat_sets_the_runs(self):
        report = json.loads(run("bench", "--json", "-r", 3, "--only", "decode").stdout)
        self.assertEqual([row["runs"] for row in report["results"]], [3])

    def test_an_unknown_group_is_wrong_usage(self):
        done = run("bench", "--only", "prefill,speed")
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"--only speed", done.stderr)

    def test_depth_follows_the_context(self):
        done = run("bench", "--json", "-r", 1, "--only", "prefill,decode", "--ctx", 64)
        self.assertEqual([row["what"] for row in json.loads(done.stdout)["results"]], ["prefill 16", "prefill 32", "prefill 63", "decode at 0"])

    def test_the_table_is_chinese_where_the_user_is(self):
        table = run("bench", "-r", 1, "--only", "prefill", QAIO_LANG="zh").stdout.decode()
        self.assertIn("读入 16 词", table)

    def test_nothing_but_the_table_and_nothing_on_stderr_without_a_terminal(self):
        done = run("bench", "-r", 1, "--only", "labels")
        self.assertEqual(done.stderr, b"")
        self.assertIn(b"5 labels of 200 tokens, shared prompt", done.stdout)

    def test_a_missing_model_is_said_once(self):
        done = run("bench", "--model", "/nonexistent/model")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, b"")
        self.assertEqual(done.stderr.count(b"\n"), 1)


class Interrupted(unittest.TestCase):
    def test_ctrl_c_ends_it_with_what_was_measured(self):
        child = subprocess.Popen([QAIO, "bench", "--json", "-r", "1000", "--only", "prefill,decode"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=environment())
        try:
            child.wait(timeout=2)
            self.fail("it should still run")
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
        self.assertEqual(child.returncode, 1)
        self.assertFalse(json.loads(out)["complete"])
        self.assertIn(b"stopped", err)

    def test_progress_is_shown_on_a_terminal(self):
        terminal, stderr = pty.openpty()
        done = subprocess.run([QAIO, "bench", "--json", "-r", "20", "--only", "prefill"], stdout=subprocess.PIPE, stderr=stderr, env=environment(TERM="xterm"))
        os.close(stderr)
        self.assertIn(b"prefill 16", os.read(terminal, 65536))
        os.close(terminal)
        json.loads(done.stdout)


if __name__ == "__main__":
    unittest.main()
