"""The training recipe on the data of the repository alone: tokenizer, examples, a few steps, a model that the program runs."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
TRAINING = os.path.join(ROOT, "training")
QAIO = os.environ.get("QAIO", os.path.join(ROOT, "build-release", "qaio"))
sys.path.insert(0, TRAINING)

try:
    import gguf  # noqa: F401
    import torch
    TORCH = True
except ImportError:
    TORCH = False


def run(*args):
    return subprocess.run([sys.executable, *args], cwd=TRAINING, check=True, capture_output=True, text=True).stdout


class Training(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.tokenizer, cls.tok, cls.checkpoints = (os.path.join(cls.folder.name, n) for n in ("tokenizer", "tok", "run"))
        run("tokenizer.py", "--out", cls.tokenizer, "--vocab", "2045", "--repeat", "1")
        cls.prepared = run("prepare.py", "--tokenizer", cls.tokenizer, "--out", cls.tok, "--limit", "60",
                           "--only", "own_daily,own_pattern,own_one,own_emotion,own_forks")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_every_example_is_whole_and_has_a_loss(self):
        import numpy as np
        for name in ("own_daily", "own_pattern", "own_one", "own_emotion", "own_forks"):
            z = np.load(os.path.join(self.tok, name + ".npz"))
            self.assertGreater(len(z["off"]), 10, name)
            for a, b in zip(z["off"][:-1], z["off"][1:]):
                self.assertLessEqual(b - a, 512)
                self.assertGreater(z["w"][a:b].sum(), 0)
                self.assertEqual(z["w"][a], 0)

    def test_forks_start_where_the_stem_ends(self):
        import numpy as np
        from packing import positions
        self.assertEqual(positions(np.array([0, 0, 0, 1, 1, 2, 2, 2])).tolist(), [0, 1, 2, 3, 4, 3, 4, 5])

    def test_conversations_of_one_prompt_share_it_as_forks(self):
        import random

        from prepare import Writer
        from tokenizers import Tokenizer
        writer = Writer(Tokenizer.from_file(os.path.join(self.tokenizer, "tokenizer.json")))
        for text in ("你好", "再见", "谢谢"):
            writer.chat("甲", [("user", text), ("assistant", "好的")])
        writer.chat("乙", [("user", "你好"), ("assistant", "嗯")])
        writer.group(random.Random(0))
        self.assertEqual([int(f.max()) for f in writer.fork], [3, 1])
        ids, fork, stem = writer.ids[0], writer.fork[0], writer.frame("甲", [])
        self.assertEqual(ids[fork == 0].tolist(), stem)
        alone = {tuple(writer.frame(None, [("user", t), ("assistant", "好的")])) for t in ("你好", "再见", "谢谢")}
        self.assertEqual({tuple(ids[fork == n].tolist()) for n in (1, 2, 3)}, alone)

    def test_a_situation_gives_all_its_answers_or_the_one_without_a_slot(self):
        import random

        from prepare import patterns
        path = os.path.join(self.folder.name, "patterns_t.txt")
        with open(path, "w", encoding="utf-8") as f:
            f.write("= lost\nx: 伞、书\nU: {x}丢了\nU: 找不到了\nA: {x}会找到的。\nA: 别急着找{x}。\nR: 东西丢了真急人。\nU2: 找到了\nA2: {x}回来啦。\nR2: 找到就好。\n"
                    "= more\nU: 猫病了\nA: 快带猫去看看。\nE: 昨天起的\nE: 吐了\nS: 猫一定很难受。\nT: 愿猫早点好。\n= poor\nU: 嗯\nA: 嗯。\nR: -\n= on\nafter: any\nU: 然后呢\nA: 然后就看你了。\n")

        def said(one):
            turns = list(patterns(path, random.Random(0), one, []))
            return turns, {t for exchange in turns for role, t in exchange if role == "assistant"}
        _, every = said(False)
        self.assertLessEqual({"伞会找到的。", "书会找到的。", "别急着找伞。", "嗯。"}, every)
        self.assertNotIn("东西丢了真急人。", every)
        turns, one = said(True)
        self.assertLessEqual({"东西丢了真急人。", "快带猫去看看。", "然后就看你了。"}, one)
        self.assertLessEqual(one, {"东西丢了真急人。", "找到就好。", "快带猫去看看。", "猫一定很难受。", "愿猫早点好。", "然后就看你了。"})
        many = [t for seed in range(40) for t in patterns(path, random.Random(seed), True, [])]
        self.assertIn(["猫病了", "快带猫去看看。", "昨天起的", "猫一定很难受。", "吐了", "愿猫早点好。"], [[text for _, text in t] for t in many])
        self.assertTrue(any(t[-1][1] == "找到就好。" for t in many))
        self.assertTrue(all(len(t) >= 4 for t in turns if t[-2][1] == "然后呢"))

    def test_labels_behind_an_opening_begin_at_the_same_token(self):
        from tokenizers import Tokenizer

        from prepare import Writer
        from prompts import LABELS, OPENINGS
        writer = Writer(Tokenizer.from_file(os.path.join(self.tokenizer, "tokenizer.json")))
        for task, labels in LABELS.items():
            tokens = [writer.enc(OPENINGS[task] + label) for label in labels]
            n = writer.opening(task)
            self.assertEqual(len({tuple(t[:n]) for t in tokens}), 1, task)
            self.assertEqual(len({tuple(t[n:]) for t in tokens}), len(labels), task)
            for label in labels:
                writer.under = {}
                writer.forks(None, [("user", "好")], [(task, label)])
                (_, w), = writer.under[()]
                self.assertEqual(w.count(4), len(writer.enc(OPENINGS[task] + label)) - n)
        pair = [("emotion", "开心"), ("crisis", "否")]
        writer.forks(None, [("user", "好")], pair)
        self.assertEqual(int(writer.fork[-1].max()), 2)
        self.assertEqual(int((writer.w[-1] == 4).sum()), sum(len(writer.enc(OPENINGS[t] + a)) - writer.opening(t) for t, a in pair))

    def test_packing_resumes_in_the_same_place(self):
        import numpy as np
        from packing import Packer, Source

        def packer():
            return Packer([Source(os.path.join(self.tok, n + ".npz"), 1) for n in ("own_daily", "own_forks")], [1, 2], 4, 256)
        straight, first = packer(), packer()
        for _ in range(3):
            straight.batch(), first.batch()
        second = packer()
        second.load(json.loads(json.dumps(first.state())), True)
        for a, b in zip(straight.batch(), second.batch()):
            self.assertTrue(np.array_equal(a, b))

    def test_a_held_out_text_and_one_like_it_are_left_out(self):
        from prepare import HeldOut
        with tempfile.TemporaryDirectory() as d:
            with open(os.path.join(d, "labels_dev.jsonl"), "w", encoding="utf-8") as f:
                f.write(json.dumps({"text": "我昨天在超市买的牛奶今天就坏了真是气人"}, ensure_ascii=False) + "\n")
            held = HeldOut(d)
        self.assertTrue(held.has("我昨天在超市买的牛奶，今天就坏了，真是气人！"))
        self.assertTrue(held.has("上周我昨天在超市买的牛奶今天就坏了", near=True))
        self.assertFalse(held.has("今天在超市碰到了老同学", near=True))

    def test_labels_of_our_own_texts_are_labels_of_the_tasks(self):
        from prepare import jsonl
        from prompts import LABELS
        seen = set()
        for name in sorted(os.listdir(os.path.join(TRAINING, "data"))):
            self.assertLess(os.path.getsize(os.path.join(TRAINING, "data", name)), 1 << 20, name)
            if not name.startswith("labels_"):
                continue
            for r in jsonl(os.path.join(TRAINING, "data", name)):
                for task, labels in LABELS.items():
                    self.assertIn(r[task], labels + ([None] if task == "sentiment" else []), r)
                self.assertNotIn(r["text"], seen)
                seen.add(r["text"])
        self.assertGreater(len(seen), 1000)

    def test_the_card_is_made_of_the_evaluation(self):
        results = os.path.join(self.folder.name, "results.json")
        card = os.path.join(self.folder.name, "card.md")
        with open(results, "w", encoding="utf-8") as f:
            json.dump({"own_crisis": {"own": {"n": 300, "accuracy": 97.25, "macro_f1": 0.9, "ece": 0.03, "recall": 91.5,
                                              "false_alarms": 1.25}}}, f)
        run("card.py", "--results", results, "--out", card)
        with open(card, encoding="utf-8") as f:
            text = f.read()
        for figure in ("97.25", "91.5", "1.25"):
            self.assertIn(figure, text)

    @unittest.skipUnless(TORCH, "`pip install torch gguf` to train in this test")
    def test_a_model_is_trained_stopped_resumed_exported_and_answers(self):
        train = ("train.py", "--run", self.checkpoints, "--tok", self.tok, "--preset", "test", "--vocab", "2048", "--rows", "2", "--warmup", "2",
                 "--mix", "own_daily:40,own_pattern:20,own_emotion:20:1:0.05,own_forks:20")
        run(*train, "--steps", "3")
        self.assertIn("goes on at step 3", run(*train, "--steps", "6"))
        model, gguf = os.path.join(self.folder.name, "model"), os.path.join(self.folder.name, "m.gguf")
        run("export.py", "--ckpt", os.path.join(self.checkpoints, "ckpt.pt"), "--tokenizer", self.tokenizer, "--out", model,
            "--qaio", QAIO, "--gguf", gguf)
        for file in (model, gguf):
            said = subprocess.run([QAIO, "run", "emotion", "--model", file, "--json", "今天真开心"], check=True, capture_output=True, text=True)
            self.assertAlmostEqual(sum(json.loads(said.stdout)["results"][0]["probabilities"].values()), 1, places=5)
        from train import from_gguf
        from safetensors.torch import load_file
        folder = load_file(os.path.join(model, "model.safetensors"))
        for name, weight in from_gguf(gguf).items():        # to go on from what ships
            self.assertLess(float((weight - folder[name].float()).norm()), 0.02 * float(folder[name].float().norm()) + 1e-6, name)


if __name__ == "__main__":
    unittest.main()
