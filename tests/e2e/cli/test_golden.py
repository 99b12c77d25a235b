"""`qaio inspect` against the golden data: tests/golden/README.md says where it comes from and what tolerances hold."""
import array
import base64
import json
import math
import os
import pathlib
import shutil
import struct
import tempfile
import unittest

from qaio import GOLDEN, inspect, read_jsonl, run

TOKENIZER = GOLDEN / "tokenizer"
DEQUANT_BLOCKS = {"Q4_0": 18, "Q4_1": 20, "Q5_0": 22, "Q5_1": 24, "Q8_0": 34, "Q2_K": 84, "Q3_K": 110, "Q4_K": 144, "Q5_K": 176, "Q6_K": 210}


def make_tokenizer(folder, added=()):
    """The real vocabulary from its merges: the bytes in GPT-2's order, then what each merge makes."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    pieces = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]
    known = set(pieces)
    for line in (TOKENIZER / "merges.txt").read_text(encoding="utf-8").split("\n"):
        if line.startswith("#version") or not line.strip():
            continue
        piece = line.replace(" ", "")
        if piece not in known:
            known.add(piece)
            pieces.append(piece)
    vocab = {piece: i for i, piece in enumerate(pieces)}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    shutil.copy(TOKENIZER / "merges.txt", folder)
    tokens = {}
    specials = [{"id": 151643 + i, "content": c} for i, c in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])]
    for token in [*specials, *added]:
        tokens[str(token["id"])] = {"content": token["content"], "special": token.get("special", True), "lstrip": False, "rstrip": False,
                                    "normalized": False, "single_word": False}
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": tokens}), encoding="utf-8")
    return folder


class Folder(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)


class Tokenizer(Folder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        make_tokenizer(cls.folder)

    @staticmethod
    def request(vector):
        key = next(k for k in ("text_b64", "text", "text_rep") if k in vector)
        if key == "text_rep":
            return {"text": "".join(s * n for s, n in vector["text_rep"])}
        return {key: vector[key]}

    def test_every_vector_gives_the_same_ids(self):
        vectors = read_jsonl(TOKENIZER / "vectors.jsonl")
        answers = inspect("tokenize", [self.request(v) for v in vectors], "--tokenizer", self.folder)
        for vector, answer in zip(vectors, answers):
            if not vector.get("nfc_old_tables"):
                self.assertEqual(answer["ids"], vector["ids"], vector)

    def test_plain_makes_special_tokens_ordinary_text(self):
        vectors = read_jsonl(TOKENIZER / "vectors.jsonl")
        answers = inspect("tokenize", [self.request(v) for v in vectors], "--plain", "--tokenizer", self.folder)
        for vector, answer in zip(vectors, answers):
            if not vector.get("nfc_old_tables"):
                self.assertEqual(answer["ids"], vector.get("ids_plain", vector["ids"]), vector)

    def test_hostile_texts_are_exact_and_quick(self):
        def fingerprint(ids):
            h = 0xCBF29CE484222325
            for byte in struct.pack("<%dI" % len(ids), *ids):
                h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
            return h

        vectors = read_jsonl(TOKENIZER / "hostile.jsonl")
        answers = inspect("tokenize", [self.request(v) for v in vectors], "--tokenizer", self.folder, timeout=30)
        for vector, answer in zip(vectors, answers):
            ids = answer["ids"]
            self.assertEqual((len(ids), ids[:16], ids[-16:]), (vector["ids_n"], vector["ids_head"], vector["ids_tail"]))
            wanted = vector["ids_fnv"]
            self.assertEqual(fingerprint(ids), int(wanted, 16) if isinstance(wanted, str) else wanted)

    def test_detokenize_gives_all_bytes(self):
        vectors = read_jsonl(TOKENIZER / "decode.jsonl")
        answers = inspect("detokenize", [{"ids": v["ids"]} for v in vectors], "--tokenizer", self.folder)
        for vector, answer in zip(vectors, answers):
            self.assertEqual(answer["text_b64"], vector["bytes_b64"])
            self.assertEqual("".join(answer["pieces"]) + answer["flush"], vector["text_replace"])

    def test_stream_emits_whole_characters_only(self):
        vectors = read_jsonl(TOKENIZER / "stream.jsonl")
        answers = inspect("detokenize", [{"ids": v["ids"]} for v in vectors], "--tokenizer", self.folder)
        for vector, answer in zip(vectors, answers):
            self.assertEqual((answer["pieces"], answer["flush"]), (vector["pieces"], vector["flush"]))


class Template(Folder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.messages = {m["id"]: m["messages"] for m in read_jsonl(GOLDEN / "template" / "messages.jsonl")}
        cls.plain = cls.folder / "qwen2"
        cls.qwen3 = cls.folder / "qwen3"
        for folder, added in ((cls.plain, []), (cls.qwen3, json.loads((TOKENIZER / "qwen3_added_tokens.json").read_text()))):
            folder.mkdir()
            make_tokenizer(folder, [a for a in cls.added(added) if a["id"] > 151645])

    @staticmethod
    def added(tokens):
        if isinstance(tokens, dict):
            tokens = tokens.get("added_tokens", [{"id": int(k), **v} if isinstance(v, dict) else {"id": v, "content": k} for k, v in tokens.items()])
        return [t if isinstance(t, dict) else dict(zip(("id", "content", "special"), t)) for t in tokens]

    def check(self, name, folder, key):
        cases = read_jsonl(GOLDEN / "template" / (name + ".jsonl"))
        requests = [{"messages": self.messages[c["messages"]], **c["options"], **({"tools": c["tools"]} if "tools" in c else {})} for c in cases]
        answers = inspect("template", requests, "--tokenizer", folder, "--template", GOLDEN / "template" / (name + ".jinja"))
        for case, request, answer in zip(cases, requests, answers):
            if "error" in case:
                self.assertIn("error", answer, request)
                continue
            self.assertEqual(answer.get("text"), case["text"], (request, answer))
            wanted = case.get(key, case.get("ids"))
            if wanted is not None:
                self.assertEqual(answer["ids"], wanted, request)

    def test_qwen15_renders_as_transformers_does(self):
        self.check("qwen1.5", self.plain, "ids")

    def test_qwen2_base_renders_as_transformers_does(self):
        self.check("qwen2-base", self.plain, "ids")

    def test_qwen25_renders_as_transformers_does(self):
        self.check("qwen2.5", self.plain, "ids")
        self.check("qwen2.5", self.qwen3, "ids_qwen3")

    def test_qwen3_renders_as_transformers_does(self):
        self.check("qwen3", self.plain, "ids")
        self.check("qwen3", self.qwen3, "ids_qwen3")

    def test_qwen35_renders_as_transformers_does(self):
        self.check("qwen3.5-4b", self.plain, "ids")

    def test_an_unknown_template_is_plain_chatml_with_a_warning(self):
        path = self.folder / "own.jinja"
        path.write_text("{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}")
        request = json.dumps({"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": True}) + "\n"
        done = run("inspect", "template", "--tokenizer", self.plain, "--template", path, stdin=request)
        self.assertEqual(json.loads(done.stdout)["text"], "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
        self.assertIn(b"unknown", done.stderr)

    def test_plain_keeps_what_a_user_typed_ordinary_text(self):
        request = {"messages": [{"role": "user", "content": "<|im_end|>"}]}
        [answer] = inspect("template", [request], "--tokenizer", self.plain, "--plain")
        self.assertEqual(answer["ids"].count(151645), 1)  # the template's own
        self.assertEqual(answer["text"].count("<|im_end|>"), 2)


class Model(unittest.TestCase):
    """Every number of every model, in float32."""

    @staticmethod
    def references():
        for folder in sorted((GOLDEN / "models").iterdir()):
            if (folder / "ref.json").exists() and not folder.name.startswith("h_"):  # qwen3_5: not an architecture of this version
                yield folder, folder / "ref.json"
        for path in sorted((GOLDEN / "gguf").glob("*.ref.json")):
            yield path.with_name(path.name.replace(".ref.json", ".gguf")), path

    def each_model(self, check):
        for model, path in self.references():
            with self.subTest(model=model.name):
                check(model, json.loads(path.read_text(encoding="utf-8")), path.with_suffix(".bin"))

    def check_logits(self, model, ref, binary):
        values = array.array("f", binary.read_bytes())
        for which in ("all", "last"):
            prompts = [p for p in ref["prompts"] if p["logits_positions"] == which]
            answers = inspect("logits", [{"ids": p["ids"], "positions": which} for p in prompts], "--model", model)
            for prompt, answer in zip(prompts, answers):
                rows, columns = prompt["logits"]["shape"]
                begin = prompt["logits"]["offset"] // 4
                wanted = values[begin:begin + rows * columns]
                got = [x for row in answer["logits"] for x in row]
                self.assertEqual(len(got), len(wanted))
                limit = 2e-4 * max(map(abs, wanted))
                self.assertLessEqual(max(abs(a - b) for a, b in zip(got, wanted)), limit, prompt["name"])

    def check_greedy(self, model, ref, _):
        prompts = [p for p in ref["prompts"] if "greedy" in p]
        answers = inspect("generate", [{"ids": p["ids"], "n": len(p["greedy"])} for p in prompts], "--model", model)
        for prompt, answer in zip(prompts, answers):
            self.assertEqual(answer.get("ids"), prompt["greedy"], (prompt["name"], answer))

    def check_score(self, model, ref, _):
        prompts = [p for p in ref["prompts"] if p.get("labels")]
        requests = [{"ids": p["ids"], "continuations": [label["ids"] for label in p["labels"]]} for p in prompts]
        for prompt, answer in zip(prompts, inspect("score", requests, "--model", model)):
            for label, logprob in zip(prompt["labels"], answer["logprobs"]):
                wanted = label.get("logprob_f64", label["logprob"])
                self.assertLessEqual(abs(logprob - wanted), 1e-4 + 2e-5 * abs(wanted), (prompt["name"], label["text"]))

    def check_description(self, model, ref, _):
        answer = json.loads(run("inspect", "model", "--model", model).stdout)
        self.assertEqual((answer["architecture"], answer["vocab_size"]), (ref["type"], ref["vocab_size"]))
        self.assertIn(ref["eos"], answer["stop_tokens"])

    def test_logits_are_within_the_tolerance(self):
        self.each_model(self.check_logits)

    def test_greedy_continuations_are_equal(self):
        self.each_model(self.check_greedy)

    def test_continuations_have_their_log_probability(self):
        self.each_model(self.check_score)

    def test_model_describes_the_checkpoint(self):
        self.each_model(self.check_description)


class Dequant(unittest.TestCase):
    def test_every_type_gives_the_reference_values(self):
        for raw in sorted((GOLDEN / "dequant").glob("*.raw")):
            name = raw.name.split(".")[0]
            done = run("inspect", "dequant", "--type", name, stdin=raw.read_bytes())
            with self.subTest(file=raw.name):
                if "nonfinite" in raw.name:
                    self.assertIn(done.returncode, (0, 1, 2))
                    continue
                if done.returncode == 2 and name.startswith(("IQ", "Q2", "Q3")):
                    continue  # optional types
                self.assertEqual(done.returncode, 0, done.stderr)
                got, wanted = array.array("f", done.stdout), array.array("f", raw.with_suffix(".f32").read_bytes())
                self.assertEqual(len(got), len(wanted))
                for a, b in zip(got, wanted):
                    self.assertTrue(math.isclose(a, b, rel_tol=1e-6) or (math.isnan(a) and math.isnan(b)), (a, b))

    def test_a_cut_block_is_refused(self):
        for name, block in DEQUANT_BLOCKS.items():
            if name.startswith(("Q2", "Q3")):
                continue
            done = run("inspect", "dequant", "--type", name, stdin=bytes(block + 1))
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"left over", done.stderr)


class Broken(Folder):
    """Malformed checkpoints end with exit status 1 and a reason, or load, as the manifest says."""

    def test_every_case_ends_as_the_manifest_says(self):
        broken = GOLDEN / "broken"
        for number, case in enumerate(json.loads((broken / "manifest.json").read_text(encoding="utf-8"))["cases"]):
            is_gguf = case["case"].startswith("gguf/")
            target = self.folder / str(number)
            shutil.copytree(broken / "base", target, copy_function=shutil.copy)
            for name, source in case["files"].items():
                if source is None:
                    os.unlink(target / name)
                else:
                    shutil.copy(broken / source, target / name)
            if is_gguf:
                model = target / "base.gguf"
            else:
                model = target
                os.unlink(target / "base.gguf")
            done = run("inspect", "logits", "--model", model, stdin='{"ids":[1,2,3],"positions":"last"}\n', timeout=20)
            with self.subTest(case=case["case"], what=case["what"], stderr=done.stderr.decode()):
                if case["verdict"] == "must_refuse":
                    self.assertEqual(done.returncode, 1)
                    self.assertTrue(done.stderr.startswith(b"qaio: ") and len(done.stderr) > 12)
                elif case["verdict"] == "must_load":
                    self.assertEqual(done.returncode, 0)
                    self.assertIn("logits", json.loads(done.stdout))
                else:
                    self.assertIn(done.returncode, (0, 1))


if __name__ == "__main__":
    unittest.main()
