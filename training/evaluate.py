# SPDX-License-Identifier: Apache-2.0
"""Measure a model through the built program: what is measured is what ships.

  evaluate.py --qaio build/qaio [--model FILE.gguf] --shared SHARED/data --out RESULTS.json [--replies OUT.jsonl]

Starts `qaio serve` on a free port of 127.0.0.1 with task files of its own beside the built-in ones
(other wordings, other layouts) and asks it over HTTP.  RESULTS.json holds accuracy, macro-F1 and ECE
of every set; OUT.jsonl the replies to SHARED/data/eval/chat_dev.jsonl and eval/replies.jsonl here,
greedy and at temperature 0.7, for a reader to judge by qa_rubric.md (field "pass").
"""
import argparse
import csv
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from prompts import LABELS, OPENINGS, PROMPTS, UNSEEN_PROMPTS, analyst, clean, plain_weibo

HERE = os.path.dirname(os.path.abspath(__file__))
AT_ONCE = 50            # texts in one request
LONGEST = 380           # letters; the rest of a longer review does not fit the context of 512 tokens
BINS = 15


# ---- the program ----

class Server:
    """`qaio serve` with its own tasks and no calibrations of the user's."""

    def __init__(self, qaio, model, tasks):
        self.home = tempfile.TemporaryDirectory()
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        command = [qaio, "serve", "--port", str(self.port), "--tasks", tasks] + (["--model", model] if model else [])
        self.process = subprocess.Popen(command, env={**os.environ, "QAIO_HOME": self.home.name}, stdout=subprocess.DEVNULL)
        for _ in range(200):
            if self.process.poll() is not None:
                raise SystemExit(f"evaluate.py: {' '.join(command)} ended with {self.process.returncode}")
            try:
                return self.call("GET", "/readyz") and None
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise SystemExit("evaluate.py: the server does not get ready")

    def call(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=300) as f:
            return json.loads(f.read())

    def labels(self, task, texts):
        """[(label, {label: probability})] by the labels' texts."""
        out = []
        for i in range(0, len(texts), AT_ONCE):
            for r in self.call("POST", f"/v1/tasks/{task}", {"texts": texts[i:i + AT_ONCE]})["results"]:
                out.append((r["text"], r["probability"]))
        return out

    def reply(self, messages, **sampling):
        r = self.call("POST", "/v1/chat/completions", {"messages": messages, "max_tokens": 128, **sampling})
        return r["choices"][0]["message"]["content"]

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.home.cleanup()


def write_tasks(folder):
    """Task files for other wordings and layouts; {name: task it is a variant of}."""
    variants = {}

    def put(name, task, keys):
        variants[name] = task
        labels = "".join(f'  - {{id: l{i}, text: "{t}"}}\n' for i, t in enumerate(LABELS[task]))
        with open(f"{folder}/{name}.yaml", "w", encoding="utf-8") as f:
            f.write(f"name: {name}\nversion: 1\ntitle: {{zh: {name}, en: {name}}}\nkind: label\n{keys}labels:\n{labels}")

    quoted = lambda s: json.dumps(s, ensure_ascii=False)
    for task in UNSEEN_PROMPTS:
        for kind, wordings in (("known", PROMPTS[task][1:5]), ("new", UNSEEN_PROMPTS[task])):
            for i, w in enumerate(wordings, 1):
                put(f"{task}-{kind}{i}", task, f"layout: own\nsystem: {quoted(w)}\n")
    for task in LABELS:
        o = f"opening: {quoted(OPENINGS[task])}\n"
        put(f"{task}-shared", task, f"layout: shared\nanalyst: {quoted(analyst())}\n{o}")
        put(f"{task}-probe", task, f"layout: probe\n{o}")
    return variants


# ---- figures ----

def macro_f1(gold, said, labels):
    """Mean F1 of the labels that occur."""
    f = []
    for x in labels:
        hits = sum(g == x == s for g, s in zip(gold, said))
        n = gold.count(x) + said.count(x)
        if n:
            f.append(2 * hits / n)
    return sum(f) / len(f)


def ece(right, probabilities):
    """Mean distance between how sure the answers of a bin are and how often they are right."""
    bins = {}
    for r, p in zip(right, probabilities):
        bins.setdefault(min(int(p * BINS), BINS - 1), []).append((r, p))
    return sum(abs(sum(r for r, _ in b) - sum(p for _, p in b)) for b in bins.values()) / len(right)


def figures(gold, answers, labels):
    said = [a for a, _ in answers]
    right = [a == g for a, g in zip(said, gold)]
    out = {"n": len(gold), "accuracy": round(100 * sum(right) / len(gold), 2), "macro_f1": round(macro_f1(gold, said, labels), 4),
           "ece": round(ece(right, [p for _, p in answers]), 4)}
    if labels == LABELS["crisis"]:
        yes = [s for s, g in zip(said, gold) if g == "是"]
        no = [s for s, g in zip(said, gold) if g == "否"]
        out["recall"] = round(100 * yes.count("是") / max(len(yes), 1), 2)
        out["false_alarms"] = round(100 * no.count("是") / max(len(no), 1), 2)
    return out


def sets(shared, limit):
    """{name: (task, gold labels, texts)}"""
    out = {}
    for name, task in (("waimai_1000", "sentiment"), ("chnsenticorp_test", "sentiment"), ("smp2020_usual_test", "emotion")):
        with open(f"{shared}/eval/{name}.csv", encoding="utf-8", newline="") as f:
            rows = list(csv.DictReader(f))[:limit]
        gold = [{"1": "正面", "0": "负面"}.get(r["label"], r["label"]) for r in rows]
        out[name] = (task, gold, [(plain_weibo(r["text"]) if task == "emotion" else clean(r["text"]))[:LONGEST] or "。" for r in rows])
    with open(f"{shared}/eval/labels_dev.jsonl", encoding="utf-8") as f:
        rows = [json.loads(line) for line in f][:limit]
    for task in LABELS:
        known = [r for r in rows if r.get(task)]
        out["own_" + task] = (task, [r[task] for r in known], [clean(r["text"]) for r in known])
    return out


def measure(server, variants, shared, limit):
    results = {}
    for name, (task, gold, texts) in sets(shared, limit).items():
        results[name] = {"own": figures(gold, server.labels(task, texts), LABELS[task])}
        for variant, of in variants.items():
            # The big set of emotions would take longest and says no more than ours.
            if of == task and name not in ("smp2020_usual_test", "chnsenticorp_test"):
                results[name][variant.partition("-")[2]] = figures(gold, server.labels(variant, texts), LABELS[task])
        print(name, json.dumps(results[name], ensure_ascii=False), flush=True)
    return results


# ---- replies ----

def conversation(server, turns, **sampling):
    messages = []
    for t in turns:
        messages.append({"role": "user", "content": t})
        messages.append({"role": "assistant", "content": server.reply(messages, **sampling)})
    return [m["content"] for m in messages if m["role"] == "assistant"]


def replies(server, shared, path):
    ways = (("greedy", {"temperature": 0}), ("0.7", {"temperature": 0.7, "seed": 1}))
    with open(path, "w", encoding="utf-8") as out:
        for source in (f"{shared}/eval/chat_dev.jsonl", f"{HERE}/eval/replies.jsonl"):
            for line in open(source, encoding="utf-8"):
                r = json.loads(line)
                for way, sampling in ways:
                    said = conversation(server, r["turns"], **sampling)
                    out.write(json.dumps({"set": os.path.basename(source)[:-6], "way": way, "turns": r["turns"], "replies": said,
                                          "must": r["must"], "pass": None}, ensure_ascii=False) + "\n")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--qaio", required=True)
    ap.add_argument("--model", help="default: the embedded one")
    ap.add_argument("--shared", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--replies", help="where replies go")
    ap.add_argument("--limit", type=int, help="rows of each set")
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        variants = write_tasks(folder)
        server = Server(a.qaio, a.model, folder)
        try:
            results = measure(server, variants, a.shared, a.limit)
            if a.replies:
                replies(server, a.shared, a.replies)
        finally:
            server.close()
    with open(a.out, "w", encoding="utf-8") as f:
        json.dump(results, f, ensure_ascii=False, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
