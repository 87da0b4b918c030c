"""Count attempts in a table, which all processes share and other requests cannot evict.

Count an attempt before you check it. Then parallel attempts are limited like successive ones.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final, NamedTuple

from django.db import Error, connections, router, transaction
from django.db.models import F
from django.utils import timezone

from ..databases import clock, tenants
from ..models import AttemptCount

_PRUNED_AT_ONCE: Final = 1000
_MOST_HELD: Final = 10_000

# Attempts that this process counted but the table may lack: the number, and the window's end.
_held: OrderedDict[str, tuple[int, float]] = OrderedDict()
_lock: Final = threading.Lock()


class Tries(NamedTuple):
    """The number of attempts in this window, including this one, and the counter's name."""

    number: int
    counter: str


def count(name: str, window: int) -> Tries:
    """Count an attempt at ``name`` in the current window of ``window`` seconds."""
    counter = _counter(name, window)
    return Tries(_count(counter, window), counter)


def count_surely(name: str, window: int) -> Tries:
    """Count like ``count``, even if the table is read-only or the transaction is rolled back.

    Use it for authentication: REST framework rolls a refused request back, and a read-only
    database must not refuse the right secret.
    """
    counter = _counter(name, window)
    held = _hold(counter, window)
    try:
        number = _count(counter, window)
    except Error:
        return Tries(held, counter)
    # Runs at once, unless a transaction is open.
    transaction.on_commit(partial(_let_go, counter), using=_alias())
    return Tries(max(number, held), counter)


def give_back(*counters: str) -> None:
    """Subtract one attempt from each of ``counters``, because the attempt was right."""
    for counter in counters:
        _let_go(counter)
        try:
            with _savepoint():
                _rows(counter).filter(number__gt=0).update(number=F("number") - 1)
        except Error:
            continue  # a right attempt must not fail because of its counter


def reset(counter: str) -> None:
    """Delete all attempts of ``counter``."""
    _rows(counter).delete()


def prune(most: int | None = None) -> int:
    """Delete the counters of past windows from the table; return how many."""
    rows: Any = AttemptCount.objects.using(_alias())
    rows = rows.filter(ends_at__lt=clock.now(AttemptCount) - timedelta(minutes=1))
    if most is not None:
        pks = rows.order_by("ends_at").values_list("pk", flat=True)[:most]
        rows = AttemptCount.objects.using(_alias()).filter(pk__in=list(pks))
    deleted, _ = rows.delete()
    return int(deleted)


def _counter(name: str, window: int) -> str:
    tenant = tenants.prefix_of(AttemptCount)  # _held is shared by all tenants
    text = f"{tenant}{name}:{window}:{int(time.time() // window)}"
    return hashlib.sha256(text.encode()).hexdigest()


def _count(counter: str, window: int) -> int:
    is_new = False
    with _savepoint():
        rows = _rows(counter)
        if not rows.update(number=F("number") + 1):
            ends_at = timezone.now() + timedelta(seconds=window)
            row = AttemptCount(digest=counter, ends_at=ends_at)
            # Another process may have inserted it meanwhile.
            AttemptCount.objects.using(_alias()).bulk_create([row], ignore_conflicts=True)
            rows.update(number=F("number") + 1)
            is_new = True
        number = rows.values_list("number", flat=True).first()
    if is_new and counter.startswith("00"):  # one new counter in 256
        with suppress(Error), _savepoint():  # the attempt was counted
            prune(_PRUNED_AT_ONCE)
    return number or 1  # a server with a fast clock may have pruned it


def _rows(counter: str) -> Any:
    return AttemptCount.objects.using(_alias()).filter(digest=counter)


def _alias() -> str:
    return router.db_for_write(AttemptCount)


def _savepoint() -> AbstractContextManager[Any]:
    """Return a savepoint if a transaction is open, so that a failure does not break it.

    Without a transaction, each statement commits separately. A common transaction could make two
    first attempts deadlock.
    """
    alias = _alias()
    return transaction.atomic(using=alias) if connections[alias].in_atomic_block else nullcontext()


def _hold(counter: str, window: int) -> int:
    now = time.monotonic()
    with _lock:
        number, ends = _held.get(counter, (0, now + window))
        _held[counter] = (number + 1, ends)
        _held.move_to_end(counter)
        if len(_held) > _MOST_HELD:
            for name in [name for name, (_, ends) in _held.items() if ends < now]:
                del _held[name]
        while len(_held) > _MOST_HELD:
            _held.popitem(last=False)
    return number + 1


def _let_go(counter: str) -> None:
    with _lock:
        number, ends = _held.pop(counter, (0, 0.0))
        if number > 1:
            _held[counter] = (number - 1, ends)
