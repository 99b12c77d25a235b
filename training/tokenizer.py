# SPDX-License-Identifier: Apache-2.0
"""Train the byte-level BPE: Qwen2's pre-tokenizer and NFC, its three special tokens at the end.

  tokenizer.py --shared SHARED/data --out DIR --vocab 7165     (without --shared: the data of this folder alone)
"""
import argparse
import json
import os
import random

from prepare import Texts, patterns, turns_of, HERE
from prompts import LABELS, PROMPTS, analyst, clean

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\n" + PROMPTS["chat"][0] + "<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def sample(texts, repeat):
    """What the tokenizer learns from: a part of every pack, our own texts and the prompts many times."""
    rng = random.Random(1)
    for name, part in (("dialogues_smilechat", 0.3), ("dialogues_cpsycoun", 0.15)):
        for r in texts.pack(name):
            if rng.random() < part:
                yield from (t for _, t in turns_of(r)[1])
    for name, part in (("sentiment_licensed_repos", 0.25), ("sentiment_no_licence_stated", 0.25), ("emotion_smp2020", 0.5)):
        for r in texts.pack(name):
            if rng.random() < part:
                yield clean(r["text"])[:120]
    for r in texts.pack("classical_modern_60k"):
        if rng.random() < 0.05:
            yield from (clean(r["classical"]), clean(r["modern"]))
    own = [t for _, turns in texts.dialogues() for _, t in turns] + [clean(r["text"]) for r in texts.labelled()] + \
          [t for turns in patterns(f"{HERE}/data/patterns.txt", random.Random("qaio/tokenizer"), False, []) for _, t in turns]
    for _ in range(repeat):
        yield from own
    for wordings in list(PROMPTS.values()) + [[analyst()]]:      # canonical prompts become few tokens
        yield from [wordings[0]] * 300 * repeat + wordings[1:] * 10 * repeat
    for labels in list(LABELS.values()) + [["user", "assistant", "system"]]:
        yield from labels * 500 * repeat


def train(texts, vocab, repeat):
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(WORDS), behavior="isolated", invert=False),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    t.train_from_iterator(sample(texts, repeat), trainers.BpeTrainer(
        vocab_size=vocab, min_frequency=3, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    return t


def save(t, out):
    os.makedirs(out, exist_ok=True)
    t.save(f"{out}/tokenizer.json")
    with open(f"{out}/tokenizer.json", encoding="utf-8") as f:
        bpe = json.load(f)["model"]
    with open(f"{out}/vocab.json", "w", encoding="utf-8") as f:
        json.dump(bpe["vocab"], f, ensure_ascii=False)
    with open(f"{out}/merges.txt", "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n")
        f.writelines((m if isinstance(m, str) else " ".join(m)) + "\n" for m in bpe["merges"])
    first = len(bpe["vocab"])
    added = {str(first + i): {"content": s, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
             for i, s in enumerate(SPECIALS)}
    with open(f"{out}/tokenizer_config.json", "w", encoding="utf-8") as f:
        json.dump({"add_prefix_space": False, "added_tokens_decoder": added, "additional_special_tokens": SPECIALS[1:],
                   "bos_token": None, "chat_template": CHAT_TEMPLATE, "clean_up_tokenization_spaces": False,
                   "eos_token": "<|im_end|>", "errors": "replace", "model_max_length": 512, "pad_token": "<|endoftext|>",
                   "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None},
                  f, ensure_ascii=False, indent=2)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--shared", help="folder with packs/ and own/")
    ap.add_argument("--out", required=True)
    ap.add_argument("--vocab", type=int, default=7165, help="entries without the special tokens")
    ap.add_argument("--repeat", type=int, default=10, help="how often our own texts and the prompts are read")
    a = ap.parse_args()
    t = train(Texts(a.shared, None), a.vocab, a.repeat)
    save(t, a.out)
    print(f"{t.get_vocab_size()} entries", flush=True)


if __name__ == "__main__":
    main()
