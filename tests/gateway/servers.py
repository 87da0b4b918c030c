"""Real servers on the loopback: an upstream that records its requests, and nginx before it."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.db import connection

from tests.documents import ROOT, blocks
from tests.servers import exposed
from tests.services import require

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@dataclass
class Seen:
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def values(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass
class BlackBox:
    """Answer all requests. Parse them by hand, because libraries do not show the raw request."""

    answer: bytes = b"offers"
    seen: list[Seen] = field(default_factory=list)
    status: str = "200 OK"

    def __enter__(self):
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *args):
        self._listening.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        with suppress(ConnectionResetError):  # HAProxy closes idle connections this way
            self._serve(connection)

    def _serve(self, connection):
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                method, _, rest = line.decode("latin-1").rstrip("\r\n").partition(" ")
                seen = Seen(method, rest.rpartition(" ")[0], [])
                while (header := stream.readline().decode("latin-1").rstrip("\r\n")) != "":
                    name, _, value = header.partition(":")
                    seen.headers.append((name, value.strip()))
                if length := seen.values("Content-Length"):
                    seen.body = stream.read(int(length[0]))
                elif seen.values("Transfer-Encoding"):
                    while (size := stream.readline()) not in (b"0\r\n", b""):
                        seen.body += stream.read(int(size, 16))
                        stream.readline()
                    if not stream.readline() or not size:
                        return  # the client disconnected
                self.seen.append(seen)
                body = b"" if method == "HEAD" else self.answer
                head = f"HTTP/1.1 {self.status}\r\nContent-Length: {len(self.answer)}\r\n\r\n"
                connection.sendall(head.encode() + body)


class Nginx:
    """Run nginx with the documented configuration on the given ports."""

    def __init__(self, prefix: Path, apikeys: int, blackbox: int, more=()):
        require("nginx", NGINX is not None, "Install it: apt-get install nginx-light.")
        self.prefix = prefix
        self.port = free_port()
        (server,) = (
            b for b in blocks("docs/reference/gateway.md", "nginx") if b.startswith("upstream")
        )
        for said, meant in [
            ("127.0.0.1:8000", f"127.0.0.1:{apikeys}"),
            ("127.0.0.1:9000", f"127.0.0.1:{blackbox}"),
            ("127.0.0.1:8080", f"127.0.0.1:{self.port}"),
            *more,
        ]:
            assert server.count(said) == 1, said
            server = server.replace(said, meant)
        paths = "".join(
            f"{kind}_temp_path {prefix}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # The workers must be able to read the files of the test.
        user = "user root; " if os.getuid() == 0 else ""
        (prefix / "nginx.conf").write_text(
            f"{user}daemon off; worker_processes 1; pid {prefix}/pid;\n"
            f"error_log {prefix}/error.log;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{paths}{server}}}\n"
        )

    def __enter__(self):
        command = [NGINX, "-p", str(self.prefix), "-c", str(self.prefix / "nginx.conf")]
        self.process = subprocess.Popen(
            [*command, "-e", str(self.prefix / "error.log")], env=os.environ
        )
        await_port(self.port, self.process)
        return self

    def __exit__(self, *args):
        self.process.terminate()
        self.process.wait(20)


class Site:
    """Run ``tests.gateway.serve``. ``django`` has settings besides ``APIKEYS``."""

    def __init__(self, *application, django=None, **apikeys):
        self.port = free_port()
        self._env = os.environ | {"SITE_SETTINGS": json.dumps(django or {})}
        name = str(connection.settings_dict["NAME"])
        words = [str(self.port), name, json.dumps(apikeys), *application]
        self._command = [sys.executable, "-m", "tests.gateway.serve", *words]

    def __enter__(self):
        self.process = subprocess.Popen(self._command, cwd=ROOT, env=self._env)
        await_port(self.port, self.process)
        return self

    def __exit__(self, *args):
        self.process.terminate()
        self.process.wait(20)


def await_port(port, process, seconds=90):
    for _ in range(seconds * 20):
        assert process.poll() is None, "it ended"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            assert not exposed(port), "A server that a test starts listens on loopback only."
            return
    raise AssertionError(f"nothing answers on {port}")


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]


def send(port, target, *headers, method="GET", body=b"", line=None, host="localhost", chunks=b""):
    """Send a raw request, exactly as given.

    ``chunks`` is a body that is framed already.
    """
    target = target if isinstance(target, bytes) else target.encode("utf-8", "surrogateescape")
    request = line or method.encode() + b" " + target + b" HTTP/1.1"
    lines = [request, b"Host: " + host.encode(), *(h.encode("latin-1") for h in headers)]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(b"\r\n".join([*lines, b"Connection: close", b"", body + chunks]))
        data, ended = b"", False
        while part := connection.recv(65536):
            data += part
            if not ended and _is_complete(data, request):
                # Envoy waits a second for the client to close after it has refused a request.
                connection.shutdown(socket.SHUT_WR)
                ended = True
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *others = head.decode("latin-1").split("\r\n")
    pairs = [(n, v.strip()) for n, _, v in (other.partition(":") for other in others)]
    return Answer(int(first.split()[1]) if data else 0, pairs, rest)


def _is_complete(data, request):
    """Return whether ``data`` is a whole response with a known length."""
    head, end, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
    if not end or length is None:
        return False
    return request.startswith(b"HEAD ") or len(body) >= int(length[1])
