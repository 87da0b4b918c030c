"""Invalidate the caches of other processes through Redis client tracking.

A process that changes a row writes a Redis key named after it. Redis pushes the name to every
process that listens to the prefix (``CLIENT TRACKING`` in broadcasting mode, RESP3). The message
is in the listener's socket before its next request reads the cache.
https://redis.io/docs/latest/develop/reference/client-side-caching/

A listener trusts its cache only while its own marks come back to it. A mark is a key that it
writes through a connection of at most ``_SETTLE`` seconds. So a Redis that answers but accepts
no writes, or a connection that a failover left at the old master, ends the trust after
``_LEASE`` seconds. A changed row is used for at most ``_BOUND`` seconds:

- A write that Redis accepted reached the server that new connections lead to. A listener of
  another server gets no mark back and stops within ``_LEASE``. A new listener waits ``_SETTLE``
  seconds before it stores rows, so that it cannot miss a write through an older connection.
- A write that Redis did not accept is repeated every ``_BEAT`` seconds, and then invalidates
  everything. If Redis accepts no marks either, every listener stops within ``_LEASE``. If it
  accepts them again before that, the repeated write arrives within ``_BEAT``.

One thread does all input and output. A request waits for it only after a change, for up to
``_PATIENCE`` seconds, and not at all while an earlier change is waiting.
"""

import asyncio
import atexit
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from .redis_connections import Listener, Writer, readable

logger = logging.getLogger("apikeys")

_BEAT = 0.5  # seconds between two marks
_LEASE = 2.0  # seconds that rows are trusted after the last mark came back
_SETTLE = 1.0  # seconds that a connection is used for writing
_BOUND = 3.0  # maximum seconds that a changed row is used: more than _LEASE and _BEAT together
_PATIENCE = 0.5  # maximum seconds that a change waits for Redis
_SOCKET_TIMEOUT = 0.5  # seconds

_MAX_NAMES = 1000  # maximum names in the queue; with more, everything is invalidated

EVERYTHING: Final = "*"
_MARK: Final = "mark:"  # cannot be the label of a model, which has a dot


class Tracking:
    """Call ``drop`` with the tags that any process publishes.

    If messages may have been missed, call ``drop`` with ``"*"``. ``timeout`` is the number of
    seconds for which other processes may use a row if only this process loses Redis; it is only
    logged.
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
        redis = Redis.from_url(
            url,
            protocol=3,
            socket_timeout=_SOCKET_TIMEOUT,
            socket_connect_timeout=_SOCKET_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )
        pool = redis.connection_pool
        # make_connection() would count closed connections against the limit of the pool.
        self._connect: Callable[[], Any] = partial(pool.connection_class, **pool.connection_kwargs)

        self._lock = threading.Lock()  # protects the listener and its messages
        self._listener: Listener | None = None
        self._heard: float | None = None  # when the last mark that came back was sent
        self._mark = f"{_MARK}{secrets.token_hex(8)}:"
        self._marks: dict[str, float] = {}  # when each outstanding mark was sent
        self._lost: Exception | None = None  # why the listener was lost
        self._is_reported = False  # whether the loss was logged
        self._ready = threading.Event()

        self._turn = threading.Condition()  # protects the queue
        self._queue: set[str] = set()
        self._number = 0  # the number of the last change
        self._written = 0  # the number of the last change that Redis accepted
        self._is_behind = False

        self._writer: Writer | None = None  # used only by the thread
        self._error: Exception | None = None
        self._closed = False
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="apikeys-tracking", daemon=True)
        self._thread.start()
        atexit.register(self._finish)

    def is_current(self) -> bool:
        """Return whether all invalidations until now were applied. Takes microseconds."""
        listener, heard = self._listener, self._heard
        if listener is None or heard is None or time.monotonic() - heard > _LEASE:
            return False
        # Check the lock last: a thread that has read a message holds it until it dropped rows.
        if listener.is_behind or readable(listener.socket) or self._lock.locked():
            self._drain()
            return self._listener is listener and not listener.is_behind
        return self._listener is listener

    def wait(self, timeout: float) -> bool:
        """Wait until rows may be stored for the first time. For tests and warm starts."""
        return self._ready.wait(timeout)

    def publish(self, tags: Sequence[str]) -> None:
        """Drop these tags in all processes. Never raises, and waits briefly at most.

        Returns at once in an event loop, and while an earlier change waits for Redis: that
        write will invalidate everything.
        """
        with self._turn:
            self._number += 1
            number = self._number
            self._queue.update([EVERYTHING] if self._is_behind else tags)
            if len(self._queue) > _MAX_NAMES:
                self._queue = {EVERYTHING}
            self._turn.notify_all()
            if self._is_behind or _in_event_loop():
                return
            self._turn.wait_for(lambda: self._written >= number or self._is_behind, _PATIENCE)
            if self._written >= number or self._is_behind:
                return
            self._fall_behind()
        self._report_delay(TimeoutError(f"no answer for {_PATIENCE} seconds"))

    def close(self) -> None:
        """Stop the thread and close the connections."""
        atexit.unregister(self._finish)
        with self._turn:
            self._closed = True
            self._turn.notify_all()
        with self._lock:
            self._lose()

    def _finish(self) -> None:
        """Wait for pending changes before the process ends.

        After ``_BOUND`` seconds without a write, all listeners have stopped using their rows.
        """
        if os.getpid() == self._pid:  # in a forked process, the lock may be held forever
            with self._turn:
                self._turn.wait_for(lambda: self._written >= self._number, _BOUND)

    def _fall_behind(self) -> None:
        """Invalidate everything as soon as Redis accepts a write. Call with ``_turn`` held."""
        self._queue = {EVERYTHING}
        self._is_behind = True
        self._turn.notify_all()

    def _report_delay(self, error: Exception) -> None:
        logger.warning(
            "Could not publish a change to other processes. They may use outdated rows for %s "
            "seconds, or for up to %s seconds if only this process cannot write to Redis: %s",
            _BOUND,
            self._timeout,
            error,
        )

    # Only the thread calls the following methods, except for _drain().

    def _run(self) -> None:
        while not self._closed:
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - redis-py may raise anything for an odd URL
                with self._lock:
                    self._lose(error)
            self._report_loss()
            self._send()
            self._catch_mark()
            with self._turn:
                self._turn.wait_for(self._is_wanted, self._pause())
        self._hang_up()

    def _report_loss(self) -> None:
        # Log it here: in _lose(), a slow log handler would block a request and hold the lock.
        error, self._lost = self._lost, None
        if error is not None and not self._is_reported:
            self._is_reported = True
            logger.warning("Redis cannot be used, so every credential costs a query: %s", error)

    def _is_wanted(self) -> bool:
        return self._closed or (bool(self._queue) and not self._is_behind)

    def _pause(self) -> float:
        if (listener := self._listener) is not None and self._heard is None:
            settled = listener.since + _SETTLE - time.monotonic()
            return min(_BEAT, settled) if settled > 0 else _BEAT
        return _BEAT

    def _listen(self) -> None:
        """Read messages, and replace a listener that is lost or no longer trusted."""
        self._drain()
        if (listener := self._listener) is not None:
            trusted = self._heard or listener.since + _SETTLE
            if time.monotonic() - trusted > _LEASE:
                raise self._error or TimeoutError("Redis does not push the marks")
            return
        listener = Listener(self._connect(), self._prefix, _SOCKET_TIMEOUT)
        with self._lock:
            self._drop([EVERYTHING])  # changes before this moment were missed
            self._heard = None
            self._listener = listener
        if self._closed:
            with self._lock:
                self._lose()

    def _send(self) -> None:
        """Write the queue, then a mark."""
        with self._turn:
            names, self._queue, number = [*self._queue], set(), self._number
        try:
            self._write(names)
        except Exception as error:  # noqa: BLE001 - the thread must outlive Redis
            self._error = error
            self._hang_up()
            with self._lock:
                self._marks.clear()  # Redis may or may not have accepted them
            if names:
                with self._turn:
                    is_new = not self._is_behind
                    self._fall_behind()
                if is_new:
                    self._report_delay(error)
        else:
            self._error = None
            with self._turn:
                self._written = number
                self._is_behind = False
                self._turn.notify_all()

    def _write(self, names: list[str]) -> None:
        if self._listener is None and not names:
            return
        if self._writer is None or time.monotonic() - self._writer.since > _SETTLE / 2:
            self._hang_up()
            self._writer = Writer(self._connect, _SETTLE)
        if self._listener is not None:
            mark = f"{self._mark}{time.monotonic_ns()}"
            with self._lock:
                self._marks[mark] = self._writer.since
            names = [*names, mark]
        self._writer.write([self._prefix + name for name in names])

    def _hang_up(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _catch_mark(self) -> None:
        """Wait for the first mark of a new listener, to trust it as soon as possible."""
        end = time.monotonic() + _BEAT
        while (
            (listener := self._listener) is not None
            and self._heard is None
            and any(sent >= listener.since + _SETTLE for sent in [*self._marks.values()])
            and (left := end - time.monotonic()) > 0
            and readable(listener.socket, left)
        ):
            self._drain()

    def _drain(self) -> None:
        """Process all messages that Redis has sent. Never wait for more."""
        with self._lock:
            listener = self._listener
            if listener is None:
                return
            try:
                for message in listener.read():
                    self._take_in(message, listener)
            except (OSError, ValueError) as error:
                self._lose(error)

    def _take_in(self, message: Any, listener: Listener) -> None:
        # [b"invalidate", [key, …]], with None for the keys if the Redis database was flushed.
        # Any other message drops everything.
        try:
            kind, keys = message
            names = [key.decode().removeprefix(self._prefix) for key in keys]
            tags = [name for name in names if not name.startswith(_MARK)]
            if kind != b"invalidate":
                tags = [EVERYTHING]
        except (TypeError, ValueError, AttributeError):
            names, tags = [], [EVERYTHING]
        if tags:
            self._drop(tags)
        for name in names:
            if name in self._marks:
                self._hear(name, listener)

    def _hear(self, mark: str, listener: Listener) -> None:
        for earlier in [*self._marks]:  # in the order of sending
            sent = self._marks.pop(earlier)
            if earlier == mark:
                break
            if sent >= listener.since:
                raise ConnectionError("a mark did not come back: do two servers answer?")
        if self._heard is None:
            if sent >= listener.since + _SETTLE:
                self._drop([EVERYTHING])  # rows that were read before may be outdated
                self._heard = sent
                self._is_reported = False
                self._ready.set()
        elif time.monotonic() - self._heard > _LEASE:
            # A process that could not write its change meanwhile may have ended.
            raise TimeoutError("a mark came back too late")
        else:
            self._heard = max(self._heard, sent)

    def _lose(self, error: Exception | None = None) -> None:
        self._lost = self._lost or error
        listener, self._listener, self._heard = self._listener, None, None
        self._marks.clear()
        if listener is not None:
            listener.close()
        self._drop([EVERYTHING])


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
