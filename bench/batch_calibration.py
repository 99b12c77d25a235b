"""What `qaio batch --batch-calibration` changes: accuracy, macro-F1 and ECE of raw and of calibrated probabilities, on labelled texts.

    python bench/batch_calibration.py --qaio build/qaio --task sentiment --layout shared labelled.csv [--column text] [--label-column label]

Labels are ids or texts of the task, or 1 and 0 for the first and the other one of two.  Rows are shuffled (seed 1): a running mean over sorted
texts would have seen one label only.
"""
import argparse
import csv
import json
import pathlib
import random
import subprocess
import tempfile


def read_rows(path, column, label_column):
    with open(path, newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f)) if path.suffix == ".csv" else [json.loads(line) for line in f]
    return [(row[column], str(row[label_column])) for row in rows if row[label_column] not in (None, "")]


def label_ids(args):
    task = json.loads(subprocess.run([args.qaio, "tasks", "show", args.task, "--json", *args.more], check=True, capture_output=True).stdout)
    ids = {}
    for i, label in enumerate(task["labels"]):
        ids.update({label["id"]: i, label["text"]: i})
    return {**({"1": 0, "0": 1} if len(task["labels"]) == 2 else {}), **ids}


def figures(answers):
    """answers: (probabilities, right).  Accuracy, macro-F1, ECE in 15 bins, texts a label was given to."""
    n_labels = len(answers[0][0])
    confusion = [[0] * n_labels for _ in range(n_labels)]
    bins = [[0.0, 0] for _ in range(15)]
    for p, right in answers:
        given = max(range(n_labels), key=p.__getitem__)
        confusion[right][given] += 1
        bins[min(14, int(p[given] * 15))][0] += p[given]
        bins[min(14, int(p[given] * 15))][1] += given == right
    counts = [sum(row[i] for row in confusion) for i in range(n_labels)]
    f1 = [2 * confusion[i][i] / (sum(confusion[i]) + counts[i]) for i in range(n_labels) if sum(confusion[i]) + counts[i]]
    return {"accuracy": sum(confusion[i][i] for i in range(n_labels)) / len(answers), "macro_f1": sum(f1) / len(f1),
            "ece": sum(abs(sure - right) for sure, right in bins) / len(answers), "given": counts}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=pathlib.Path)
    parser.add_argument("--qaio", default="build/qaio")
    parser.add_argument("--task", required=True)
    parser.add_argument("--tasks", help="a directory of task files")
    parser.add_argument("--layout")
    parser.add_argument("--model")
    parser.add_argument("--column", default="text")
    parser.add_argument("--label-column", default="label")
    args = parser.parse_args()
    args.more = (["--tasks", args.tasks] if args.tasks else []) + (["--model", args.model] if args.model else [])
    ids = label_ids(args)
    rows = [(text, ids[label]) for text, label in read_rows(args.texts, args.column, args.label_column) if label in ids]
    if not rows:
        raise SystemExit(f"no row has a label of {args.task}")
    random.Random(1).shuffle(rows)
    with tempfile.TemporaryDirectory() as folder:
        source, out = pathlib.Path(folder, "in.jsonl"), pathlib.Path(folder, "out.jsonl")
        source.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text, _ in rows), encoding="utf-8")
        layout = ["--layout", args.layout] if args.layout else []
        subprocess.run([args.qaio, "batch", args.task, source, out, "--quiet", "--batch-calibration", *layout, *args.more], check=True)
        results = [json.loads(line)["results"][0] for line in out.read_text(encoding="utf-8").splitlines()]
    for what in ("raw", "probabilities"):
        answers = [(list(r[what].values()), right) for r, (_, right) in zip(results, rows) if "error" not in r]
        print(json.dumps({"task": args.task, "layout": args.layout, "texts": len(answers), "what": what,
                          **{k: round(v, 4) if isinstance(v, float) else v for k, v in figures(answers).items()}}))


if __name__ == "__main__":
    main()
