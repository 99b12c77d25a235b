"""Driving the built program from outside: QAIO names the binary, default build/qaio."""
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden"
QAIO = os.environ.get("QAIO", str(ROOT / "build" / "qaio"))


def environment(**extra):
    """A clean environment: English, no colours, nothing of the user's own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "QAIO_", "HF_", "MODELSCOPE_"))}
    return {**kept, "LANG": "C.UTF-8", "QAIO_HOME": "/nonexistent", **extra}


def run(*args, stdin=b"", timeout=120, **extra):
    """Runs qaio with these arguments; stdout and stderr come back as bytes."""
    if isinstance(stdin, str):
        stdin = stdin.encode()
    return subprocess.run([QAIO, *map(str, args)], input=stdin, capture_output=True, timeout=timeout, env=environment(**extra))


def inspect(call, requests, *args, timeout=300):
    """One object a request, in order."""
    lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in requests)
    done = run("inspect", call, *args, stdin=lines, timeout=timeout)
    assert done.returncode == 0, done.stderr.decode()
    answers = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert len(answers) == len(requests), (len(answers), len(requests))
    return answers


def read_jsonl(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]
