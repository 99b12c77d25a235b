# SPDX-License-Identifier: Apache-2.0
"""Texts to tokenised examples.

  prepare.py --shared SHARED/data --tokenizer DIR --out RUN/tok [--only own_chat,emo] [--limit 50]
  prepare.py --tokenizer DIR --out RUN/tok --limit 50       the data of this folder alone

A source is one .npz: ids uint16 [tokens], w uint8 [tokens] (loss weight of the token), fork uint8
[tokens] (0: stem; tokens of a fork see the stem and their own fork), off int64 [examples + 1].  No
example is longer than 512 tokens.  SHARED/data has packs/, own/ and eval/, see
README.md; whatever resembles a text of eval/ is left out and counted.
"""
import argparse
import csv
import glob
import json
import lzma
import os
import random
import zlib

import numpy as np

from prompts import (LABELS, OPENINGS, PROMPTS, analyst, choice_prompt, clean, fullwidth, key, pick, plain_weibo, vary)

MAX_TOKENS = 512
GROUP_TOKENS = 508      # conversations of one system prompt share it, as forks, up to so many tokens
LABEL_WEIGHT = 4        # loss weight of a label's token; a token of text counts 1
NGRAM = 6               # letters; an own text that shares half of an eval text's n-grams is left out
COPIES = {("crisis", "是"): 8, ("sentiment", "正面"): 6}      # of an own text; the others 4: the rarer label would be given too seldom
HERE = os.path.dirname(os.path.abspath(__file__))


# ---- reading ----

def jsonl(path):
    opener = lzma.open if path.endswith(".xz") else open
    with opener(path, "rt", encoding="utf-8") as f:
        for line in f:
            yield json.loads(line)


def turns_of(record):
    """(system or None, [(role, text)]) of a dialogue; answers in full-width punctuation."""
    system, turns = None, []
    for m in record["messages"]:
        if m["role"] == "system":
            system = m["content"]
        else:
            t = clean(m["content"])
            turns.append((m["role"], fullwidth(t) if m["role"] == "assistant" else t))
    return system, turns


def ngrams(k):
    return {k[i:i + NGRAM] for i in range(len(k) - NGRAM + 1)}


class HeldOut:
    """The texts of eval/, to keep training texts away from them."""

    def __init__(self, folder):
        self.full, self.prefix, self.grams, self.hits = set(), set(), [], 0
        for path in sorted(glob.glob(f"{folder}/*.csv")):
            with open(path, encoding="utf-8", newline="") as f:
                for r in csv.DictReader(f):
                    self.take(r["text"], False)
        for name in ("labels_dev", "chat_dev", "own_chat_dev", "pairs_style"):
            for r in jsonl(f"{folder}/{name}.jsonl") if os.path.exists(f"{folder}/{name}.jsonl") else ():
                texts = [m["content"] for m in r["messages"] if m["role"] == "user"] if "messages" in r else \
                    [x for v in r.values() for x in (v if isinstance(v, list) else [v]) if isinstance(x, str)]
                for t in texts:
                    if len(key(t)) >= 2 * NGRAM or name != "pairs_style":
                        self.take(t, True)

    def take(self, text, is_own):
        k = key(text)
        self.full.add(k)
        if len(k) >= 24:
            self.prefix.add(k[:24])
        if is_own and len(k) >= 2 * NGRAM:
            self.grams.append(ngrams(k))

    def has(self, text, near=False):
        k = key(text)
        hit = k in self.full or k[:24] in self.prefix
        if not hit and near:
            g = ngrams(k)
            hit = any(2 * len(g & e) >= len(e) for e in self.grams)
        self.hits += hit
        return hit


class Texts:
    """Where everything comes from; a folder that is not there yields nothing."""

    def __init__(self, shared, limit):
        self.shared, self.limit = shared, limit
        self.held = HeldOut(f"{shared}/eval" if shared else "")

    def files(self, kind):
        """Own files: those of SHARED/data/own, then those beside this program."""
        own = sorted(glob.glob(f"{self.shared}/own/{kind}*.jsonl")) if self.shared else []
        return own + sorted(glob.glob(f"{HERE}/data/{kind}*.jsonl"))

    def pack(self, name):
        path = f"{self.shared}/packs/{name}.jsonl.xz"
        for i, r in enumerate(jsonl(path) if self.shared and os.path.exists(path) else ()):
            if self.limit and i >= self.limit:
                return
            yield r

    def own(self, kind):
        for path in self.files(kind):
            for i, r in enumerate(jsonl(path)):
                if self.limit and i >= self.limit:
                    break
                yield r

    def labelled(self):
        return [r for r in self.own("labels_train") if not self.held.has(r["text"], True)] + \
               [r for r in self.own("labels_more") if not self.held.has(r["text"], True)]

    def dialogues(self, kind="chat_"):
        """Own dialogues but one in forty, as own_chat_dev holds out."""
        for r in self.own(kind):
            system, turns = turns_of(r)
            if zlib.crc32(key(turns[0][1] + turns[1][1]).encode()) % 40 and not self.held.has(turns[0][1], True):
                yield system, turns


def fill(text, x):
    return text.replace("{x}", x)


def situations(path):
    """The blocks of a file of patterns, each {"x": ["..."], "U": [...], "A": [...], ...}."""
    for block in ("\n" + open(path, encoding="utf-8").read()).split("\n= ")[1:]:
        part = {}
        for line in block.splitlines()[1:]:
            name, _, value = line.partition(": ")
            part.setdefault(name, []).append(value)
        yield part


def way_on(part, rng, one, x):
    """How an exchange goes on, or [] when it ends: additions (E) with the second and third answer (S, T), which fit them
    all, or a way on (U2) with the answer that fits it alone; a small model sees less of those, they have one wording each."""
    way, specific = rng.random(), 0.16 if one else 0.5
    if "S" in part and way < 0.4:
        first, second = rng.sample(part["E"], 2)
        turns = [("user", first), ("assistant", part["S"][0])]
        return turns + [("user", second), ("assistant", part["T"][0])] if rng.random() < 0.5 else turns
    answers = part.get("R2") if one and "R2" in part else part.get("A2")
    if answers and way > 1 - specific:
        return [(role, fill(t, x)) for role, t in zip(("user", "assistant"), rng.choice(list(zip(part["U2"], answers))))]
    return []


def patterns(path, rng, one, before):
    """The exchanges that a file of patterns stands for, as lists of (role, text).

    Every question is asked four times, with other fillers; its answer goes round.  Every fourth exchange, or each where it
    says `after: any`, begins behind one of `before`, which collects them.  `one`: a situation has one answer without a slot
    (R, else the first A), none when R is -, and its questions are asked twice.
    """
    for part in situations(path):
        answers = part.get("R", part["A"])[:1] if one else part["A"]
        if answers == ["-"]:
            continue
        fillers = part["x"][0].split("、") if "x" in part else []
        behind = 1 if "after" in part else 0.25
        for j, question in enumerate(part["U"]):
            for i, x in enumerate(rng.sample(fillers * 4 or [""] * 4, 2 if one else 4)):
                turns = [("user", fill(question, x)), ("assistant", fill(answers[(i + j) % len(answers)], x))]
                said = turns + way_on(part, rng, one, x)
                yield rng.choice(before) + said if before and rng.random() < behind else said
                if "after" not in part:
                    before.append(turns)


# ---- examples ----

class Writer:
    """Collects the token examples of one source.

    Conversations that begin with the same system prompt become forks of it, many an example: the prompt is
    computed once for all of them, in training as in the program.
    """

    def __init__(self, tok):
        self.ids, self.w, self.fork, self.off = [], [], [], [0]
        self.under = {}         # tokens of a system prompt -> [(ids, w)] of the conversations behind it
        self.enc = lambda s: tok.encode(s, add_special_tokens=False).ids
        self.start, self.end = tok.token_to_id("<|im_start|>"), tok.token_to_id("<|im_end|>")
        self.cache = {}
        self.nl = self.fixed("\n")

    def fixed(self, s):
        if s not in self.cache:
            self.cache[s] = self.enc(s)
        return self.cache[s]

    def head(self, role):
        return [self.start] + self.fixed(role + "\n")

    def frame(self, system, turns):
        """Tokens of a finished conversation: no loss."""
        ids = []
        for role, text in [("system", system)] * bool(system) + list(turns):
            body = self.fixed(text) if role == "system" else self.enc(text)
            ids += self.head(role) + body + [self.end] + self.nl
        return ids

    def add(self, ids, w, fork=None):
        if len(ids) <= MAX_TOKENS and any(w):
            self.fork.append(np.array(fork or [0] * len(ids), np.uint8))
            self.ids.append(np.array(ids, np.uint16))
            self.w.append(np.array(w, np.uint8))
            self.off.append(self.off[-1] + len(ids))

    def behind(self, system, ids, w):
        """A conversation behind a system prompt; `group` adds it."""
        self.under.setdefault(tuple(self.frame(system, [])), []).append((ids, w))

    def group(self, rng):
        """Adds the conversations of every system prompt, in any order, as forks of it."""
        for stem, items in self.under.items():
            rng.shuffle(items)
            ids, w, fork, n = list(stem), [0] * len(stem), [0] * len(stem), 0
            for i, x in items:
                if n == 255 or (n and len(ids) + len(i) > GROUP_TOKENS):
                    self.add(ids, w, fork)
                    ids, w, fork, n = list(stem), [0] * len(stem), [0] * len(stem), 0
                n += 1
                ids, w, fork = ids + i, w + x, fork + [n] * len(i)
            self.add(ids, w, fork)
        self.under = {}

    def chat(self, system, turns, user_loss=False, room=MAX_TOKENS):
        """A dialogue, loss on its answers (and questions); cut at the end of a turn to fit."""
        ids, w, n = [], [], 0
        room -= len(self.frame(system, []))
        for role, text in turns:
            h, b = self.head(role), self.enc(text) + [self.end]
            if len(ids) + len(h) + len(b) + 1 > room:
                break
            ids += h + b + self.nl
            w += [0] * len(h) + [int(user_loss or role == "assistant")] * len(b) + [0]
            n += 1
        if n >= 2:
            self.behind(system, ids, w)
        return n

    def answer(self, system, turns, answer, weight=1):
        """One answer; weight is that of its text, its <|im_end|> counts 1."""
        ids = self.frame(None, turns) + self.head("assistant")
        b = self.fixed(answer) if weight > 1 else self.enc(answer)
        self.behind(system, ids + b + [self.end], [0] * len(ids) + [weight] * len(b) + [1])

    def opening(self, task):
        """How many tokens of the opening all its labels begin with, as src/tasks/label_plan.c counts."""
        o, n = self.fixed(OPENINGS[task]), len(self.fixed(OPENINGS[task]))
        for label in LABELS[task]:
            b = self.fixed(OPENINGS[task] + label)
            n = next((i for i in range(min(n, len(b) - 1)) if b[i] != o[i]), min(n, len(b) - 1))
        return n

    def forks(self, system, turns, answers):
        """Labels [(task, label)] of one conversation that do not see each other.

        Opening and label are tokenised together, as the program does: 情绪：开心 is 情绪 + ：开心, but
        情绪：生气 is 情绪 + ： + 生气.  All behind the common beginning is the label.
        """
        if len(answers) == 1:
            (task, text), ids = answers[0], self.frame(None, turns) + self.head("assistant")
            b, known = self.fixed(OPENINGS[task] + text), self.opening(task)
            return self.behind(system, ids + b + [self.end], [0] * (len(ids) + known) + [LABEL_WEIGHT] * (len(b) - known) + [1])
        ids = self.frame(system, turns) + self.head("assistant")
        w, fork = [0] * len(ids), [0] * len(ids)
        for n, (task, text) in enumerate(answers, 1):
            b, known = self.fixed(OPENINGS[task] + text), self.opening(task)
            ids = ids + b + [self.end]
            w += [0] * known + [LABEL_WEIGHT] * (len(b) - known) + [1]
            fork += [n] * (len(b) + 1)
        self.add(ids, w, fork)

    def save(self, path):
        if not self.ids:
            return print(f"{os.path.basename(path)}: nothing", flush=True)
        np.savez(path, ids=np.concatenate(self.ids), w=np.concatenate(self.w),
                 fork=np.concatenate(self.fork), off=np.array(self.off, np.int64))
        print(f"{os.path.basename(path)}: {len(self.ids)} examples, {self.off[-1]} tokens, "
              f"{int(sum(np.count_nonzero(x) for x in self.w))} with loss", flush=True)


def forks(W, rng, text, answers, history):
    """The labels of one text in the layout shared or probe."""
    if rng.random() < 0.5:
        return W.forks(analyst(rng), [("user", text)], answers)
    before = rng.choice(history)[:2] if history and rng.random() < 0.25 else []
    W.forks(pick(PROMPTS["chat"], rng, 0.8), before + [("user", text)], answers)


def label(W, rng, task, text, answer, history):
    """One label in one of the layouts own, shared, probe."""
    if rng.random() < 0.75:
        W.answer(pick(PROMPTS[task], rng), [("user", text)], answer, LABEL_WEIGHT)
    else:
        forks(W, rng, text, [(task, answer)], history)


def cut(text, rng):
    """Long reviews keep their beginning or their end: short ones teach more labels an hour."""
    most = rng.choice((50, 100, 160))
    return text if len(text) <= most else text[:most] if rng.random() < 0.5 else text[-most:]


# ---- sources ----

def smile(T, W, rng):
    for r in T.pack("dialogues_smilechat"):
        _, d = turns_of(r)
        W.chat(pick(PROMPTS["chat"], rng), d, user_loss=True, room=rng.choice((128, 200, 256)))


def smile_short(T, W, rng):
    """Short exchanges out of the long dialogues, loss on the answers."""
    for r in T.pack("dialogues_smilechat"):
        _, d = turns_of(r)
        for i in range(0, len(d) - 1, 2):
            if d[i][0] == "user" and len(d[i][1]) <= 60 and 10 <= len(d[i + 1][1]) <= 70:
                W.chat(pick(PROMPTS["chat"], rng), d[max(0, i - 2 * (rng.random() < 0.4)):i + 2])
                break


def cpsycoun(T, W, rng):
    for r in T.pack("dialogues_cpsycoun"):
        W.chat(pick(PROMPTS["chat"], rng), turns_of(r)[1], user_loss=True)


def senti(keep, again=0.0):
    """Reviews of the sets that `keep` takes; the good ones `again` times more on average, where they are rarer."""
    def source(T, W, rng):
        history = [t for _, t in T.dialogues()]
        for name in ("sentiment_licensed_repos", "sentiment_no_licence_stated"):
            for r in T.pack(name):
                if not keep(r["set"]) or T.held.has(r["text"]):
                    continue
                for _ in range(1 + (int(again + rng.random()) if r["label"] == "正面" else 0)):
                    label(W, rng, "sentiment", vary(cut(clean(r["text"]), rng), rng), r["label"], history)
    return source


def emo(T, W, rng):
    history = [t for _, t in T.dialogues()]
    for r in T.pack("emotion_smp2020"):
        t = plain_weibo(r["text"])
        if t and not T.held.has(r["text"]):
            label(W, rng, "emotion", cut(t, rng), r["label"], history)


def style(T, W, rng):
    for r in T.pack("classical_modern_60k"):
        c, m = clean(r["classical"]), clean(r["modern"])
        if len(c) <= 24 and len(m) <= 40:
            W.answer(pick(PROMPTS["to_modern"], rng), [("user", c)], m)
            W.answer(pick(PROMPTS["to_classical"], rng), [("user", m)], c)


def own_dialogues(kind):
    def source(T, W, rng):
        for system, turns in T.dialogues(kind):
            for copy in range(3):       # other prompts in other copies
                varied = [(r, vary(t, rng) if r == "user" and copy else t) for r, t in turns]
                W.chat(system or pick(PROMPTS["chat"], rng, 0.8), varied)
    return source


def own_pattern(one):
    """Everyday exchanges by situations, with all their answers or with one of each."""
    def source(T, W, rng):
        before = []
        for path in sorted(glob.glob(f"{HERE}/data/patterns*.txt")):
            for i, turns in enumerate(patterns(path, rng, one, before)):
                if T.limit and i >= T.limit:
                    break
                if not any(T.held.has(t, True) for r, t in turns if r == "user"):
                    W.chat(pick(PROMPTS["chat"], rng, 0.8), [(r, vary(t, rng) if r == "user" else t) for r, t in turns])
    return source


def own_service(T, W, rng):
    for r in T.own("service"):
        W.chat(*turns_of(r))


def own_choice(T, W, rng):
    """A question of one's own with its options in any order."""
    for r in T.own("choice"):
        for _ in range(6):
            o = rng.sample(r["options"], len(r["options"]))
            W.answer(choice_prompt(r["instructions"], o), [("user", clean(r["text"]))], r["answer"], 2)


def own_label(task):
    def source(T, W, rng):
        for r in T.labelled():
            if r.get(task):
                for _ in range(COPIES.get((task, r[task]), 4)):
                    W.answer(pick(PROMPTS[task], rng), [("user", vary(clean(r["text"]), rng))], r[task], LABEL_WEIGHT)
    return source


def own_forks(T, W, rng):
    """All labels of a text at once."""
    history = [t for _, t in T.dialogues()]
    for r in T.labelled():
        for _ in range(6 if r["crisis"] == "是" else 3):
            answers = [(t, r[t]) for t in LABELS if r.get(t)]
            forks(W, rng, vary(clean(r["text"]), rng), rng.sample(answers, len(answers)), history)


def own_text(task):
    def source(T, W, rng):
        for r in T.labelled():
            a = r.get(task)
            if a:
                W.answer(pick(PROMPTS[task], rng), [("user", clean(r["text"]))],
                         "、".join(a) if task == "keywords" else clean(a))
    return source


SOURCES = {"smile": smile, "smile_short": smile_short, "cpsycoun": cpsycoun, "senti": senti(lambda s: s != "waimai"),
           "senti_food": senti(lambda s: s == "waimai", 1.33), "emo": emo, "style": style,
           "own_chat": own_dialogues("chat_"), "own_daily": own_dialogues("chat_daily"), "own_pattern": own_pattern(False), "own_one": own_pattern(True), "own_service": own_service, "own_choice": own_choice, "own_forks": own_forks,
           **{"own_" + t: own_label(t) for t in LABELS},
           **{"own_" + t: own_text(t) for t in ("keywords", "summary")}}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--shared", help="folder with packs/, own/ and eval/")
    ap.add_argument("--tokenizer", required=True, help="folder with tokenizer.json")
    ap.add_argument("--out", required=True)
    ap.add_argument("--only", help="comma-separated sources (default: all)")
    ap.add_argument("--limit", type=int, help="records read of every file")
    a = ap.parse_args()
    from tokenizers import Tokenizer
    tok = Tokenizer.from_file(f"{a.tokenizer}/tokenizer.json")
    os.makedirs(a.out, exist_ok=True)
    texts = Texts(a.shared, a.limit)
    for name in a.only.split(",") if a.only else SOURCES:
        W, before, rng = Writer(tok), texts.held.hits, random.Random("qaio/" + name)
        SOURCES[name](texts, W, rng)
        W.group(rng)
        W.save(f"{a.out}/{name}.npz")
        if texts.held.hits > before:
            print(f"  {texts.held.hits - before} texts left out: they resemble held-out ones", flush=True)


if __name__ == "__main__":
    main()
