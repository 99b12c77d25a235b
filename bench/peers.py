"""What the comparisons share: programs, servers, fresh texts, medians, the results file.  Standard library only."""
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "qaio-bench"
SENTIMENT = "你是一个冷酷的情感分析师。你的任务是对用户的每句话进行情绪分类。只能输出两种结果：正面 / 负面。不要解释，不要废话，只输出类别。"
CHAT = "你是一个温暖、有同理心的AI助手。请用自然、友好的语气回应用户。"
FIVE = ["sentiment", "emotion", "intent", "urgency", "crisis"]
PHRASES = "今天的菜比上次好吃 服务员说话很不耐烦 等了快一个小时才到 朋友推荐我来这里 房间打扫得很干净 电话一直打不通 孩子高兴得跳起来 我不知道该怎么办".split()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are stopped on the way out


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def run(command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout


def fresh_text():
    """About 20 characters, never the same twice."""
    return f"{random.randrange(100000)}号,{random.choice(PHRASES)},{random.choice(PHRASES)}"[:20]


def timed(call):
    """Milliseconds of one call."""
    start = time.monotonic()
    call()
    return 1000 * (time.monotonic() - start)


def median_of(n, call):
    return statistics.median(timed(call) for _ in range(n))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server process: requests, resident memory, processor time."""

    def __init__(self, command, port, environment=None):
        self.port = port
        self.started = time.monotonic()
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)

    def post(self, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise OSError(f"{path}: HTTP {response.status}: {response.read()[:300]!r}")
        return response

    def ask(self, path, body):
        return json.loads(self.post(path, body).read())

    def first_answer_ms(self, ask, limit_s=120):
        """Since the start of the process; `ask` fails until the server is there."""
        while True:
            try:
                ask()
                return 1000 * (time.monotonic() - self.started)
            except (OSError, http.client.HTTPException):
                if self.process.poll() is not None or time.monotonic() - self.started > limit_s:
                    self.stop()
                    raise SystemExit(f"{self.process.args[0]} does not answer")
                time.sleep(0.002)

    def resident_mb(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) * 1024 / 1e6

    def metric(self, name):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(name + " "))

    def idle_percent(self, seconds=1.0):
        before = self.cpu_seconds()
        time.sleep(seconds)
        return 100 * (self.cpu_seconds() - before) / seconds

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def until_delta(response, is_delta):
    """Reads a stream of events up to the first piece of the reply."""
    for line in response:
        if is_delta(line):
            break
    response.close()


def per_second(ask, n_clients=8, n_each=4):
    """Answers a second that so many clients get together, each asking one after the other."""
    def client():
        for _ in range(n_each):
            ask()
    threads = [threading.Thread(target=client) for _ in range(n_clients)]
    start = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return n_clients * n_each / (time.monotonic() - start)


class Results:
    """Pairs of figures by model and row, kept in a JSON file: a long comparison may be run in parts."""

    def __init__(self, path):
        self.path = path
        self.models = json.loads(pathlib.Path(path).read_text()) if path and os.path.exists(path) else {}

    def add(self, model, row, ours, theirs):
        self.models.setdefault(model, {}).setdefault(row, []).append([ours, theirs])

    def save(self):
        if self.path:
            pathlib.Path(self.path).write_text(json.dumps(self.models, indent=1) + "\n")

    def medians(self, model, row):
        """Of ours, of theirs, of the pairs' ratios ours/theirs (None without a peer)."""
        pairs = self.models[model][row]
        theirs = [b for _, b in pairs if b is not None]
        ratio = statistics.median(a / b for a, b in pairs if b) if any(theirs) else None
        return statistics.median(a for a, _ in pairs), statistics.median(theirs) if theirs else None, ratio
