"""A server of ours in a process of its own, and raw clients.  QAIO names the program, default build/qaio; fake_server lies beside it."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
QAIO = os.environ.get("QAIO", str(ROOT / "build" / "qaio"))
FAKE_SERVER = str(pathlib.Path(QAIO).parent / "fake_server")


class Server:
    """Started by its arguments; stop() ends it as a service manager would and returns its exit status."""

    def __init__(self, *command):
        env = {**os.environ, "QAIO_HOME": "/nonexistent"}  # nothing of the user's own: no models, calibrations, caches
        self.process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
        heading = ""
        for line in self.process.stdout:
            heading += line.decode()
            found = re.search(r"http://([0-9.]+):([0-9]+)/", heading)
            if found:
                break
        else:
            self.process.stdout.close()
            self.process.wait(timeout=30)
            raise RuntimeError(f"{command[0]} did not start: {heading}")
        self.host, self.port = found[1], int(found[2])
        self.url = f"http://{self.host}:{self.port}"

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(timeout=30)

    def request(self, method, path, body=None, headers=None, timeout=300):
        """(status, headers, body as bytes); a dict as body is sent as JSON."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        headers = dict(headers or {})
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def post(self, path, body, **headers):
        """(status, answer)"""
        status, _, answer = self.request("POST", path, body, headers)
        return status, json.loads(answer)

    def get(self, path):
        status, _, answer = self.request("GET", path)
        return status, json.loads(answer)

    def metric(self, name):
        text = self.request("GET", "/metrics")[2].decode()
        return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])

    def becomes_active(self, n, within=10.0):
        """Whether the engine has n jobs in time."""
        return self.becomes(lambda active: active == n, within)

    def becomes_active_at_least(self, n, within=10.0):
        return self.becomes(lambda active: active >= n, within)

    def becomes(self, is_so, within):
        end = time.monotonic() + within
        while time.monotonic() < end:
            if is_so(self.metric("qaio_jobs_active")):
                return True
            time.sleep(0.02)
        return False

    def becomes_idle(self, within=10.0):
        return self.becomes_active(0, within)

    def is_alive(self):
        return self.process.poll() is None and self.get("/healthz") == (200, {"status": "ok"})

    def connect(self, timeout=10):
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def send(self, data, timeout=10):
        """Sends raw bytes and returns all that comes back until the server closes or falls silent."""
        with self.connect(timeout) as s:
            s.sendall(data)
            return receive(s)

    def events(self, path, body, timeout=300):
        """The events of a stream as they come: (seconds since the request, event name or None, data)."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        begun = time.monotonic()
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        try:
            assert response.status == 200, response.read()
            assert response.headers["Content-Type"] == "text/event-stream"
            name = None
            for line in response:
                line = line.decode().rstrip("\n")
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    data = line[6:]
                    yield time.monotonic() - begun, name, data if data == "[DONE]" else json.loads(data)
                    name = None
                elif line.startswith(":"):
                    yield time.monotonic() - begun, "comment", line
        finally:
            response.close()
            connection.close()


def receive(s, until=None):
    """What comes until the other side closes, falls silent, or has said this."""
    got = b""
    try:
        while until is None or until not in got:
            piece = s.recv(65536)
            if not piece:
                break
            got += piece
    except (TimeoutError, ConnectionResetError):
        pass
    return got


def post_bytes(path, body, **headers):
    """A request as raw bytes; the connection stays open."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
