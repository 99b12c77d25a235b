#!/usr/bin/env python3
"""A model hub for tests: both wire formats on one port, a "CDN" on another, misbehaviour chosen by the repository's name (see the table
MISBEHAVIOUR below).  Prints "<hub port> <cdn port>", serves until its standard input ends.

Every file's byte i is (i * 31 + (i >> 8)) & 255, so that a test can check contents without a copy.
"""
import functools
import hashlib
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

CUT_BYTES = 100_000
MAX_SENT_BYTES = 1 << 20
WEIGHTS = "model.safetensors"
MODEL = {"config.json": 700, "tokenizer.json": 5000, "README.md": 50, WEIGHTS: 300_000, "onnx/model.onnx": 60}
FILES = {  # repositories with other files than MODEL
    "gguf": {"m-q8_0.gguf": 4000, "README.md": 50},
    "ggufs": {"q/m-q4_0.gguf": 3000, "m-q8_0.gguf": 4000},
    "readme": {"README.md": 50},
    "empty": {"config.json": 700, "merges.txt": 0, WEIGHTS: 10},
    "huge": {"config.json": 700, **{f"{i}.safetensors": 1 << 40 for i in range(100)}},  # more than any disk; listed only
    "up": {"../../evil.gguf": 10, **MODEL},
    "absolute": {"/tmp/evil.gguf": 10, **MODEL},
    "backslash": {"..\\evil.gguf": 10, **MODEL},
}
MISBEHAVIOUR = """
    cut        every body ends after CUT_BYTES             norange     Range is ignored; the first body of a file is cut
    badrange   the first ranged answer is of another range tail        weights only with a Range
    redirect   files are at the CDN, which wants no token  token       so, and the hub wants the token "secret"
    downgrade  redirects to an address that is not HTTP    loop        redirects to itself
    wronghash  the list's SHA-256 is of something else     wrongblob   so with the SHA-1 of config.json
    longer     files are a byte longer than the list says  shorter     a byte shorter
    nohash     the list has no hashes                      notjson     the list is a page of HTML
    private    401                                         missing     404 (on ModelScope: 200 with Code 404)
    busy       429 with Retry-After once                   flaky       500 twice
    broken     500 always                                  stall       weights stop after 1000 bytes
    pages      one file a page                             endless     each page leads to itself
"""


@functools.cache
def content(n):
    return bytes((i * 31 + (i >> 8)) & 255 for i in range(n))


class State:
    def __init__(self):
        self.lock = threading.Lock()
        self.counts = {}

    def count(self, key):
        """How often this was asked before."""
        with self.lock:
            self.counts[key] = self.counts.get(key, 0) + 1
            return self.counts[key] - 1


STATE = State()


@functools.cache
def list_entry(repo, path, size, modelscope):
    data = content(size) if size <= MAX_SENT_BYTES else b""
    sha256 = hashlib.sha256(b"lie" if repo == "wronghash" else data).hexdigest()
    if modelscope:
        entry = {"Type": "blob", "Path": path, "Name": path.split("/")[-1], "Size": size, "Sha256": sha256, "Revision": "r"}
        if repo == "nohash":
            entry["Sha256"] = ""
        return entry
    blob = hashlib.sha1(b"blob %d\0" % size + (b"lie" if repo == "wrongblob" else data)).hexdigest()
    entry = {"type": "file", "path": path, "size": size, "oid": blob}
    if path.endswith((".safetensors", ".gguf", ".onnx")):
        entry["lfs"] = {"oid": sha256, "size": size, "pointerSize": 134}
    if repo == "nohash":
        entry.pop("lfs", None)
        entry.pop("oid")
    return entry


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client that hangs up is part of the test
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def answer(self, code, body=b"", headers=(), announced=None):
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        try:
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        if announced is not None and announced != len(body):
            self.close_connection = True

    def has_token(self):
        return "secret" in (self.headers.get("Authorization", "") + self.headers.get("Cookie", ""))

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if self.server.is_cdn:
            if self.has_token():
                return self.answer(400, b"a token came to the CDN")
            _, repo, path = url.path.split("/", 2)
            return self.send_file(repo, unquote(path))
        for pattern, modelscope in ((r"/api/models/t/([^/]+)/tree/main", False), (r"/api/v1/models/t/([^/]+)/repo/files", True)):
            match = re.fullmatch(pattern, url.path)
            if match:
                return self.send_list(match[1], modelscope, int(query.get("page", ["0"])[0]))
        match = re.fullmatch(r"/t/([^/]+)/resolve/main/(.+)", url.path)
        if match:
            return self.send_or_redirect(match[1], unquote(match[2]))
        match = re.fullmatch(r"/api/v1/models/t/([^/]+)/repo", url.path)
        if match and query["Revision"] == ["master"]:
            return self.send_or_redirect(match[1], query["FilePath"][0])
        return self.answer(404)

    def send_list(self, repo, modelscope, page):
        if repo == "private" or (repo == "token" and not self.has_token()):
            return self.answer(401)
        if repo == "missing":
            return self.answer(200, b'{"Code":404,"Message":"no"}') if modelscope else self.answer(404)
        if repo == "busy" and STATE.count("busy") == 0:
            return self.answer(429, b"slow down", [("Retry-After", "1")])
        if repo == "broken" or (repo == "flaky" and STATE.count("flaky") < 2):
            return self.answer(500, b"oops")
        if repo == "notjson":
            return self.answer(200, b"<html>hello</html>")
        entries = [list_entry(repo, path, size, modelscope) for path, size in FILES.get(repo, MODEL).items()]
        headers = []
        if repo in ("pages", "endless"):
            at = f"http://127.0.0.1:{self.server.server_port}/api/models/t/{repo}/tree/main?page="
            if repo == "endless":
                headers = [("Link", f'<{at}0>; rel="next"')]
            elif page + 1 < len(entries):
                headers = [("Link", f'<{at}0>; rel="first", <{at}{page + 1}>; rel="next"')]
            entries = entries[page : page + 1]
        if modelscope:
            return self.answer(200, json.dumps({"Code": 200, "Data": {"Files": entries}, "Message": "", "Success": True}).encode())
        entries.insert(0, {"type": "directory", "path": "onnx", "size": 0, "oid": "0" * 40})
        return self.answer(200, json.dumps(entries).encode(), headers)

    def send_or_redirect(self, repo, path):
        if repo == "token" and not self.has_token():
            return self.answer(401)
        if repo in ("redirect", "token"):
            return self.answer(302, b"there", [("Location", f"http://127.0.0.1:{self.server.cdn_port}/{repo}/{path}")])
        if repo == "loop":
            return self.answer(302, b"", [("Location", self.path)])
        if repo == "downgrade":
            return self.answer(302, b"", [("Location", "file:///etc/passwd")])
        return self.send_file(repo, path)

    def send_file(self, repo, path):
        size = FILES.get(repo, MODEL)[path]
        if size > MAX_SENT_BYTES:
            return self.answer(404)
        data = content(size + {"longer": 1, "shorter": -1}.get(repo, 0))
        seen = STATE.count((repo, path))
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and repo != "norange" else None
        if repo == "tail" and path == WEIGHTS and start is None:
            return self.answer(403)
        if start is not None and start >= len(data):
            return self.answer(416)
        if repo == "badrange" and start is not None:
            start = 7
        body = data[start or 0 :]
        sent = body
        if repo == "cut" or (repo in ("norange", "badrange") and seen == 0):
            sent = body[:CUT_BYTES]
        stalls = path == WEIGHTS and (repo == "stall" or (repo == "stallonce" and seen == 0))
        if stalls:
            sent = body[:1000]
        headers = [] if start is None else [("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")]
        self.answer(200 if start is None else 206, sent, headers, len(body))
        if stalls:
            time.sleep(20)


def main():
    cdn = Server(("127.0.0.1", 0), Handler)
    hub = Server(("127.0.0.1", 0), Handler)
    cdn.is_cdn, hub.is_cdn, hub.cdn_port = True, False, cdn.server_port
    for server in (cdn, hub):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(hub.server_port, cdn.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
