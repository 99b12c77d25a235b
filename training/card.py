# SPDX-License-Identifier: Apache-2.0
"""Tables of an evaluation, and the model card made of them.

  card.py --results RESULTS.json --out README.md [--verdicts JUDGED.jsonl] [--log RUN/log.jsonl] [--about about.md]
  card.py --results NEW.json --old OLD.json --out TABLES.md --tables          both side by side, no card

`about.md` is what a person writes: how it was trained, what it is bad at, data and licences.
"""
import argparse
import json
import os

HEAD = """---
language: zh
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
tags: [qwen2, chat, sentiment]
---

# qaio-mini-zh

"""
SETS = {"waimai_1000": "waimai, 1,000 held out", "chnsenticorp_test": "ChnSentiCorp test", "smp2020_usual_test": "SMP2020 usual test",
        "own_sentiment": "own texts: sentiment", "own_emotion": "own texts: emotion", "own_intent": "own texts: intent",
        "own_urgency": "own texts: urgency", "own_crisis": "own texts: crisis"}


def table(header, rows):
    return "\n".join(["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)] +
                     ["| " + " | ".join(map(str, r)) + " |" for r in rows]) + "\n"


def cells(f):
    return [f"{f['accuracy']} %", f["macro_f1"], f["ece"]]


def main_table(new, old):
    names = [s for s in SETS if s in new]
    header = ["set", "texts"] + (["accuracy before", "F1 before", "ECE before"] if old else []) + ["accuracy", "macro-F1", "ECE"]
    rows = [[SETS[s], new[s]["own"]["n"]] + (cells(old[s]["own"]) if old else []) + cells(new[s]["own"]) for s in names]
    text = table(header, rows)
    for label, r in (("before: ", old), ("", new)):
        if r and "own_crisis" in r:
            c = r["own_crisis"]["own"]
            text += f"\nCrisis, {label}{c['recall']} % of the cases found, {c['false_alarms']} % false alarms.\n"
    return text


def variant_table(new, old):
    """How the answers hold under other wordings and layouts (accuracy)."""
    rows = []
    for s in SETS:
        for variant in [v for v in new.get(s, {}) if v != "own"]:
            rows.append([SETS[s], variant] + ([f"{old[s][variant]['accuracy']} %"] if old else []) + [f"{new[s][variant]['accuracy']} %"])
    return table(["set", "wording or layout"] + (["before"] if old else []) + ["accuracy"], rows) if rows else ""


def verdict_table(path):
    """Pass rates of the judged replies."""
    counts = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            r = json.loads(line)
            c = counts.setdefault((r["set"], r["way"]), [0, 0])
            c[0] += bool(r["pass"])
            c[1] += 1
    return table(["inputs", "decoding", "passed"], [[s, w, f"{p} of {n} ({100 * p / n:.0f} %)"] for (s, w), (p, n) in counts.items()])


def read(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--results", required=True)
    ap.add_argument("--old", help="results of another model, for comparison")
    ap.add_argument("--verdicts", help="replies of evaluate.py with `pass` filled in")
    ap.add_argument("--log", help="log.jsonl of the training")
    ap.add_argument("--about", help="what stands between title and figures")
    ap.add_argument("--tables", action="store_true", help="the tables alone")
    ap.add_argument("--out", required=True)
    a = ap.parse_args()
    new, old = read(a.results), read(a.old) if a.old else None
    text = "" if a.tables else HEAD
    if a.about and not a.tables:
        with open(a.about, encoding="utf-8") as f:
            text += f.read().rstrip() + "\n\n"
    if a.log and os.path.exists(a.log):
        with open(a.log, encoding="utf-8") as f:
            last = json.loads(f.read().splitlines()[-1])
        text += f"Last training: {last['step']} steps, {last['tokens']:,} tokens, final loss {last['loss']}.\n\n"
    text += "## Figures\n\nMeasured through the program, as shipped (Q8_0), on texts that were never trained on.\n\n" + main_table(new, old)
    variants = variant_table(new, old)
    if variants:
        text += "\n### Other wordings and layouts\n\n" + variants
    if a.verdicts:
        text += "\n### Replies\n\n" + verdict_table(a.verdicts)
    with open(a.out, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()
