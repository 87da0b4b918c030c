"""Open transactions that write (``atomic``), and repeat them after a conflict (``retried``)."""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from django.db import Error, connections, router, transaction
from django.db.models import Model
from django.views.decorators.debug import sensitive_variables

from . import unavailable

logger = logging.getLogger("apikeys")

P = ParamSpec("P")
R = TypeVar("R")

_TRIES: Final = 5
# Maximum seconds before the second attempt. Doubles with each further attempt.
_PAUSE: Final = 0.01


class _Thread(threading.local):
    has_committed = False


_thread = _Thread()


@contextmanager
def atomic(model: type[Model], *, savepoint: bool = True) -> Iterator[None]:
    """Open a transaction that writes ``model``, like ``transaction.atomic``.

    On SQLite, take the write lock first. Otherwise a transaction that reads and then writes
    fails with "database is locked" if another connection wrote in between, without waiting for
    ``timeout``.
    """
    alias = router.db_for_write(model)
    connection = connections[alias]
    if connection.in_atomic_block:
        with transaction.atomic(using=alias, savepoint=savepoint):
            yield
        return
    with _immediately(connection), transaction.atomic(using=alias):
        # Register it first: an error in a later callback must not repeat a committed transaction.
        transaction.on_commit(_note_commit, using=alias)
        yield


def retried(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that works in one transaction of ``atomic``.

    After a serialization failure or a deadlock, call the function again, up to five times in
    total. Inside another transaction, call it only once: only the outermost one can be repeated.
    """

    @sensitive_variables()
    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if any(each.in_atomic_block for each in connections.all(initialized_only=True)):
            return function(*args, **kwargs)
        given: Any = [_kept(value) for value in args]
        named: Any = {name: _kept(value) for name, value in kwargs.items()}
        for number in range(1, _TRIES):
            _thread.has_committed = False
            try:
                return function(*given, **named)
            except Error as error:
                why = unavailable.reason(error)
                if _thread.has_committed or why is None or not why.is_retryable:
                    raise
                logger.info("Repeating a transaction because %s: %s", why.value, error)
            time.sleep(random.uniform(0, _PAUSE * 2**number))  # noqa: S311
        return function(*given, **named)

    return run


def _kept(value: Any) -> Any:
    """Return ``value``, or a list of it if it can be read only once."""
    return list(value) if isinstance(value, Iterator) else value


def _note_commit() -> None:
    _thread.has_committed = True


@contextmanager
def _immediately(connection: Any) -> Iterator[None]:
    if connection.vendor != "sqlite":
        yield
        return
    connection.ensure_connection()  # sets the transaction mode of the site
    chosen, connection.transaction_mode = connection.transaction_mode, "IMMEDIATE"
    try:
        yield
    finally:
        connection.transaction_mode = chosen
