"""Connections to Redis: one that receives invalidations, and one that writes names."""

import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

_NAME_TTL = 1000  # milliseconds that a name stays in Redis; its value is never read
_MAX_MESSAGE = 1_000_000  # bytes
_MAX_READS = 64  # reads of the socket in one request


class Listener:
    """A connection on which Redis pushes invalidations. Reading it never waits.

    redis-py logs in. After that, this class reads the socket itself, because redis-py would wait
    for the rest of a message.
    """

    def __init__(self, connection: Any, prefix: str, timeout: float) -> None:
        #: Whether Redis has sent data that could not be read completely yet.
        self.is_behind = False
        self._connection = connection
        self._rest = b""
        try:
            connection.connect()
            self.socket: socket.socket = connection._sock
            connection.send_command(
                "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix, check_health=False
            )
            self._expect_ok(timeout)
            self.socket.setblocking(False)
        except BaseException:
            connection.disconnect()
            raise
        #: When the connection was ready. New connections led to this server before this time.
        self.since = time.monotonic()

    def close(self) -> None:
        with suppress(Exception):
            self._connection.disconnect()

    def _expect_ok(self, timeout: float) -> None:
        end = time.monotonic() + timeout
        while not (answers := self._parsed()):
            if time.monotonic() > end:
                raise TimeoutError("no answer")
            self._receive()
        if answers[0] != b"OK":
            raise ValueError(f"Redis answered CLIENT TRACKING with {answers[0]!r}")

    def read(self) -> list[Any]:
        """Return all complete messages.

        Raise ``OSError`` or ``ValueError`` if the connection has ended or is unusable.
        """
        had, is_all = len(self._rest), False
        try:
            for _ in range(_MAX_READS):
                self._receive()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            is_all = True
        messages = self._parsed() if len(self._rest) > had else []
        self.is_behind = bool(self._rest) or not is_all
        return messages

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("Redis has closed the connection")
        self._rest += data

    def _parsed(self) -> list[Any]:
        messages, at = [], 0
        with suppress(_IncompleteError):
            while at < len(self._rest):
                message, at = _parse(self._rest, at)
                messages.append(message)
        self._rest = self._rest[at:]
        if len(self._rest) > _MAX_MESSAGE:
            raise ValueError("a message is too long")
        return messages


class Writer:
    """A connection that writes names, for ``lifetime`` seconds."""

    def __init__(self, connect: Callable[[], Any], lifetime: float) -> None:
        self.since = time.monotonic()
        self._lifetime = lifetime
        self._connection = connect()
        try:
            self._connection.connect()
        except BaseException:
            self.close()
            raise

    def write(self, names: Iterable[str]) -> None:
        connection = self._connection
        commands = [("SET", name, "", "PX", _NAME_TTL) for name in names]
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        for _ in commands:
            connection.read_response()
        if time.monotonic() - self.since > self._lifetime:
            # New connections may lead to another server meanwhile.
            raise TimeoutError(f"a write took more than {self._lifetime} seconds")

    def close(self) -> None:
        with suppress(Exception):
            self._connection.disconnect()


class _IncompleteError(Exception):
    """The rest of a message has not arrived yet."""


def _parse(data: bytes, at: int, depth: int = 4) -> tuple[Any, int]:
    """Return the RESP3 value at ``at`` and its end. Raise ``ValueError`` for an error reply."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise _IncompleteError
    kind, line, at = data[at : at + 1], data[at + 1 : end], end + 2
    if kind in (b"+", b":"):
        return line, at
    if kind == b"_" or line == b"-1":
        return None, at
    if kind == b"$":
        end = at + int(line)
        if len(data) < end + 2:
            raise _IncompleteError
        return data[at:end], end + 2
    if kind in (b"*", b">") and depth:
        items = []
        for _ in range(int(line)):
            item, at = _parse(data, at, depth - 1)
            items.append(item)
        return items, at
    raise ValueError((kind + line)[:200].decode(errors="replace"))


def readable(listening: socket.socket, timeout: float = 0) -> bool:
    """Return whether there is data to read, or the connection has ended. One system call."""
    poll = select.poll()  # a poll object cannot be shared by threads
    try:
        poll.register(listening, select.POLLIN)
    except ValueError:  # closed meanwhile
        return True
    return bool(poll.poll(timeout * 1000))
