"""Word of what changed, from every process to every process: Redis's client tracking.

Redis itself tells those who asked to be told (``CLIENT TRACKING`` in its broadcasting mode,
RESP3) that a key under a prefix was written. A process that changes something writes the key
named after it; what the others are pushed lies in their socket before their next request
looks at what it keeps. https://redis.io/docs/latest/develop/reference/client-side-caching/
"""

import atexit
import logging
import select
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

logger = logging.getLogger("apikeys")

_BEAT = 1.0  # seconds between two questions whether Redis still answers
_LEASE = 3.0  # seconds without an answer after which nothing kept is trusted
_SOCKET_TIMEOUT = 1.0  # seconds
_MARK_TTL = 1000  # milliseconds that a mark stays in Redis: none of them is ever read


class Tracking:
    """Calls ``drop`` with the tags that others, or this process, publish.

    Whenever the connection is lost it calls ``drop`` with ``"*"``: what was missed is not known.
    ``timeout`` is for how many seconds others go on with what they could not be told of.
    """

    def __init__(
        self, url: str, prefix: str, drop: Callable[[Iterable[str]], None], timeout: float
    ) -> None:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._prefix = prefix
        self._drop = drop
        self._timeout = timeout
        self._redis = Redis.from_url(
            url,
            protocol=3,
            socket_timeout=_SOCKET_TIMEOUT,
            socket_connect_timeout=_SOCKET_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )
        self._lock = threading.Lock()  # of the connection that listens
        self._connection: Any = None
        self._socket: Any = None
        self._asked: float | None = None  # when, until it is answered
        self._heard = 0.0  # when the last question was asked that was answered
        self._owes = False
        self._is_told = False  # that Redis is away
        self._closed = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="apikeys-tracking", daemon=True)
        self._thread.start()
        atexit.register(self._pay)

    def is_current(self) -> bool:
        """Whether what is kept is true to all that was published until now. Microseconds."""
        listening = self._socket
        if listening is None or time.monotonic() - self._heard > _LEASE:
            return False
        # In this order: a thread that has read a message holds the lock until it dropped.
        if _readable(listening) or self._lock.locked():
            self._drain()
        return self._socket is listening

    def wait(self, timeout: float) -> bool:
        """Wait until Redis answered for the first time; for tests and warm starts."""
        return self._ready.wait(timeout)

    def publish(self, tags: Sequence[str]) -> None:
        """Have these tags dropped everywhere. Raises nothing: what cannot be told is owed."""
        try:
            self._write(tags)
        except Exception as error:  # noqa: BLE001 - for an odd URL redis-py raises anything
            self._owes = True
            logger.warning(
                "Could not tell other processes of a change, so they may go on with what they "
                "keep for up to %s seconds: %s",
                self._timeout,
                error,
            )

    def _write(self, tags: Sequence[str]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for tag in tags:
                pipeline.set(self._prefix + tag, "", px=_MARK_TTL)
            pipeline.execute()

    def _pay(self) -> None:
        """Tell once more what could not be told, before the process ends."""
        if self._owes and not self._closed.is_set():
            self._owes = False
            with suppress(Exception):  # it was told when it came to be owed
                self._write(["*"])

    def close(self) -> None:
        self._closed.set()
        atexit.unregister(self._pay)
        with self._lock:
            self._lose()
        self._redis.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._beat()
            except Exception as error:  # noqa: BLE001 - the thread must outlive Redis
                with self._lock:
                    self._lose(error)
            self._closed.wait(_BEAT)

    def _beat(self) -> None:
        if self._socket is not None:
            self._drain()
        with self._lock:
            if self._connection is None:
                self._connect()
            elif time.monotonic() - self._heard > _LEASE:
                raise TimeoutError("no answer")
            if self._asked is None:
                self._asked = time.monotonic()
                self._connection.send_command("PING", check_health=False)
        if self._owes and self._socket is not None:
            self._owes = False
            self.publish(["*"])

    def _connect(self) -> None:
        connection: Any = self._redis.connection_pool.make_connection()
        connection.connect()
        try:
            connection._parser.set_invalidation_push_handler(self._told)
            connection.send_command(
                "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix, check_health=False
            )
            connection.read_response()
        except BaseException:
            connection.disconnect()
            raise
        self._drop(["*"])  # what was published before this moment
        self._asked, self._heard = None, time.monotonic()
        self._connection, self._socket = connection, connection._sock
        self._is_told = False
        self._ready.set()

    def _drain(self) -> None:
        """Take in all that Redis has sent."""
        from redis.exceptions import RedisError

        with self._lock:
            try:
                # can_read() alone would connect anew where the connection is lost.
                while self._socket is not None and _readable(self._socket):
                    self._take_in()
                    while self._connection.is_connected and self._connection.can_read(0):
                        self._take_in()
            except (RedisError, OSError, ValueError) as error:
                self._lose(error)

    def _take_in(self) -> None:
        answer = self._connection.read_response(push_request=True)
        if answer in (b"PONG", "PONG") and self._asked is not None:
            self._heard, self._asked = self._asked, None

    def _told(self, message: Sequence[Any]) -> None:
        # [b"invalidate", [key, …]], or None for the keys when the database was flushed. An
        # exception would end here in redis-py, so whatever is not understood drops all.
        try:
            tags = [_text(key).removeprefix(self._prefix) for key in message[1]]
        except (TypeError, ValueError, LookupError, AttributeError):
            tags = ["*"]
        self._drop(tags)

    def _lose(self, error: Exception | None = None) -> None:
        if error is not None and not self._is_told:
            self._is_told = True
            logger.warning("Redis cannot be used, so every credential costs a query: %s", error)
        connection, self._connection, self._socket = self._connection, None, None
        if connection is not None:
            connection.disconnect()
        self._drop(["*"])


def _readable(listening: Any) -> bool:
    """Whether something was sent, or the connection has ended. A system call, no waiting."""
    poll = select.poll()  # one object cannot be used by two threads at a time
    try:
        poll.register(listening, select.POLLIN)
    except ValueError:  # closed meanwhile
        return True
    return bool(poll.poll(0))


def _text(key: bytes | str) -> str:
    return key.decode() if isinstance(key, bytes) else key
