"""How much the answer to a question depends on the order of its options, and what removes that.

    python bench/order_bias.py --qaio build/qaio training/data/labels_more1.jsonl [--texts 300]

Reads questions worded as /v1/decisions words them, as task files, with the options in every rotation and every rotation of the reverse.  For
each way to answer, each of these orders is once the one that a caller gives:

    accuracy   mean over the orders
    disagree   how often two orders (drawn with replacement) give different answers

`text`: options are scored by their own text (mean log-probability of a token); `letter`: by the letter in front of them.
"""
import argparse
import json
import math
import pathlib
import random
import subprocess
import tempfile

INTENTS = ["提问", "抱怨", "感谢", "请求", "分享", "闲聊"]
QUESTIONS = [  # instructions, options, key of the texts
    ("判断用户这句话的情感倾向。", ["正面", "负面"], "sentiment"),
    ("判断用户这句话的紧急程度。", ["紧急", "普通", "不急"], "urgency"),
    ("用户的心情是哪一种？", ["开心", "生气", "难过", "害怕", "惊讶", "平静"], "emotion"),
    ("用户说这句话想做什么？", INTENTS, "intent"),
    ("用户说这句话想做什么？", INTENTS + ["道歉", "炫耀"], "intent"),
]
LETTERS = "ABCDEFGH"
NEUTRAL = ["。", "无", "N/A", "这是一句话。"]  # texts that say nothing
TASKS_AT_ONCE = 16


def task_file(name, system, labels):
    lines = [f"name: {name}", "version: 1", "title: {zh: 题, en: Q}", "kind: label", "score: mean", "system: |-"]
    lines += ["  " + line for line in system.split("\n")] + ["labels:"]
    return "\n".join(lines + [f"  - {{id: o{i}, text: {label}}}" for i, label in enumerate(labels)]) + "\n"


def rotations(order):
    return [order[i:] + order[:i] for i in range(len(order))]


def read_all(qaio, folder, instructions, options, texts):
    """(way, order) -> probabilities of the options for each text."""
    n = len(options)
    orders = list(dict.fromkeys(rotations(tuple(range(n))) + rotations(tuple(reversed(range(n))))))
    names = {}
    for number, order in enumerate(orders):
        listed = " / ".join(options[i] for i in order)
        lettered = "\n".join(f"{LETTERS[place]}. {options[i]}" for place, i in enumerate(order))
        for way, system, labels in (("text", f"{instructions} 只输出一个选项：{listed}。", options),
                                    ("letter", f"{instructions} 只输出一个字母。\n{lettered}", [LETTERS[order.index(i)] for i in range(n)])):
            name = f"{way}-{number}"
            names[name] = (way, order)
            (folder / f"{name}.yaml").write_text(task_file(name, system, labels), encoding="utf-8")
    source, out = folder / "in.jsonl", folder / "out.jsonl"
    source.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")
    found = {key: [] for key in names.values()}
    waiting = list(names)
    while waiting:
        part, waiting = waiting[:TASKS_AT_ONCE], waiting[TASKS_AT_ONCE:]
        subprocess.run([qaio, "batch", ",".join(part), source, out, "--force", "--quiet", "--tasks", folder], check=True)
        for line in out.read_text(encoding="utf-8").splitlines():
            for answer in json.loads(line)["results"]:
                found[names[answer["task"]]].append(list(answer["raw"].values()))
    return orders, found


def evenly(order, m):
    return [rotations(order)[k * len(order) // m] for k in range(m)]


def arithmetic(rows):
    return [sum(column) / len(rows) for column in zip(*rows)]


def geometric(rows):
    return [sum(math.log(max(p, 1e-30)) for p in column) for column in zip(*rows)]


def logarithm(p):
    return math.log(max(p, 1e-12))


def without_leaning(orders, read, neutral):
    """What the neutral texts get is taken off: of each order and option, or of each place in the list alone."""
    n = len(orders[0])
    leaning = {order: [sum(logarithm(p[i]) for p in neutral[order]) / len(neutral[order]) for i in range(n)] for order in orders}
    places = [sum(leaning[order][order[k]] for order in orders) / len(orders) for k in range(n)]
    by_order = {order: [[math.exp(logarithm(p[i]) - leaning[order][i]) for i in range(n)] for p in read[order]] for order in orders}
    by_place = {order: [[math.exp(logarithm(p[i]) - places[order.index(i)]) for i in range(n)] for p in read[order]] for order in orders}
    return by_order, by_place


def judge(orders, read, right, choose, mean=arithmetic):
    """read: order -> probabilities by text; choose: the orders that are averaged for a given one."""
    hits = agreement = 0
    for text, label in enumerate(right):
        given = []
        for order in orders:
            p = mean([read[o][text] for o in choose(order)])
            given.append(max(range(len(p)), key=p.__getitem__))
        hits += sum(g == label for g in given) / len(given)
        agreement += sum((given.count(g) / len(given)) ** 2 for g in set(given))
    return f"accuracy {100 * hits / len(right):5.1f} %   disagree {100 - 100 * agreement / len(right):5.1f} %"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=pathlib.Path)
    parser.add_argument("--qaio", default="build/qaio")
    parser.add_argument("--texts", type=int, default=300)
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.labelled.read_text(encoding="utf-8").splitlines()]
    random.Random(5).shuffle(rows)
    for instructions, options, key in QUESTIONS:
        used = [row for row in rows[:args.texts] if row[key] in options]
        right = [options.index(row[key]) for row in used]
        with tempfile.TemporaryDirectory() as folder:
            orders, found = read_all(args.qaio, pathlib.Path(folder), instructions, options, [row["text"] for row in used] + NEUTRAL)
        print(f"{key}, {len(options)} options, {len(used)} texts")
        for way in ("text", "letter"):
            read = {order: found[way, order][:len(used)] for order in orders}
            by_order, by_place = without_leaning(orders, read, {order: found[way, order][len(used):] for order in orders})
            places = [sum(order.index(max(range(len(p)), key=p.__getitem__)) == place for order in orders for p in read[order])
                      for place in range(len(options))]
            print(f"  {way}: answers by place in the list: " + " ".join(f"{100 * p / sum(places):.0f} %" for p in places))
            print(f"  {way:6}  one order            ", judge(orders, read, right, lambda o: [o]))
            print(f"  {way:6}  and its reverse      ", judge(orders, read, right, lambda o: [o, tuple(reversed(o))]))
            for m in sorted({m for m in (2, 3, 4, len(options)) if 2 < len(options) >= m}):
                print(f"  {way:6}  {m} rotations          ", judge(orders, read, right, lambda o: evenly(o, m)))
            print(f"  {way:6}  all, geometric mean  ", judge(orders, read, right, rotations, geometric))
            print(f"  {way:6}  one, less a neutral text's  ", judge(orders, by_order, right, lambda o: [o]))
            print(f"  {way:6}  one, less that by place     ", judge(orders, by_place, right, lambda o: [o]))


if __name__ == "__main__":
    main()
