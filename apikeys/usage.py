"""When and from where a key was last used, and how often a day, without a write on the request.

A request leaves a note in memory. A thread of the process writes the notes every
``LAST_USED_INTERVAL`` seconds, and so does a clean exit; a killed process loses at most
what came in since the last write.
"""

import atexit
import ipaddress
import logging
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

from django.db import connections, router, transaction
from django.db.models import Case, F, Value, When
from django.utils import timezone

from .conf import app_settings
from .models import (
    PersonalAccessToken,
    PersonalAccessTokenUsage,
    ProjectKey,
    ProjectKeyUsage,
)

AnyKey = PersonalAccessToken | ProjectKey

_USAGE: dict[type[AnyKey], type[PersonalAccessTokenUsage] | type[ProjectKeyUsage]] = {
    PersonalAccessToken: PersonalAccessTokenUsage,
    ProjectKey: ProjectKeyUsage,
}

logger = logging.getLogger("apikeys")

_BATCH = 500  # rows in one statement


class _Use(NamedTuple):
    at: datetime
    ip: str | None


class _Notes:
    """What was noted of the keys of one model since the last write, by primary key."""

    def __init__(self) -> None:
        self.last: dict[int, _Use] = {}
        self.counts: Counter[tuple[int, date]] = Counter()

    def add(self, pk: int, use: _Use) -> None:
        self.last[pk] = use
        self.counts[pk, use.at.date()] += 1

    def put_back(self, earlier: "_Notes") -> None:
        self.last = earlier.last | self.last
        self.counts.update(earlier.counts)


_lock = threading.Lock()
_writing = threading.Lock()
_pending: defaultdict[type[AnyKey], _Notes] = defaultdict(_Notes)
_writer: threading.Thread | None = None


def record(model: type[AnyKey], pk: int, ip: str | None) -> None:
    """Note that a key was used just now. No query."""
    use = _Use(timezone.now(), ip)
    with _lock:
        _pending[model].add(pk, use)
    if _writer is None and app_settings.LAST_USED_INTERVAL is not None:
        _start()


def daily(model: type[AnyKey], pks: Iterable[int], days: int = 30) -> dict[int, list[int]]:
    """How many requests each key made on each of the last ``days``, oldest first. One query."""
    today = timezone.now().date()
    found = {pk: [0] * days for pk in pks}
    rows = _USAGE[model]._default_manager.filter(
        key__in=list(found), day__gt=today - timedelta(days=days), day__lte=today
    )
    for pk, day, count in rows.values_list("key_id", "day", "count"):
        found[pk][days - 1 - (today - day).days] = count
    return found


def flush() -> int:
    """Write what was noted; returns how many keys that were.

    Waits for a flush that is under way: it may be the last thing that the process does.
    """
    with _writing:
        return _flush()


def _flush() -> int:
    with _lock:
        batches = dict(_pending)
        _pending.clear()
    written = 0
    while batches:
        model, notes = batches.popitem()
        try:
            with transaction.atomic(using=router.db_for_write(model)):
                _write(model, notes)
        except BaseException:
            with _lock:  # for the next try
                for unwritten, its_notes in [(model, notes), *batches.items()]:
                    _pending[unwritten].put_back(its_notes)
            raise
        written += len(notes.last)
    return written


def _write(model: type[AnyKey], notes: _Notes) -> None:
    rows: Any = model._default_manager.using(router.db_for_write(model)).filter(
        last_used_at__isnull=False
    )
    written: dict[int, datetime] = {}  # by this process or another
    pks = sorted(notes.last)
    for start in range(0, len(pks), _BATCH):
        batch = rows.filter(pk__in=pks[start : start + _BATCH])
        written.update(batch.values_list("pk", "last_used_at"))
    # In one order, so that two processes never wait for each other.
    keys: list[Any] = [
        model(pk=pk, last_used_at=use.at, last_used_ip=_clean_ip(use.ip))
        for pk, use in sorted(notes.last.items())
        if pk not in written or written[pk] < use.at
    ]
    model._default_manager.bulk_update(keys, ["last_used_at", "last_used_ip"], batch_size=_BATCH)
    _count(_USAGE[model], sorted(notes.counts.items()))


def _count(model: Any, counts: Sequence[tuple[tuple[int, date], int]]) -> None:
    model._default_manager.bulk_create(
        [model(key_id=pk, day=day) for (pk, day), _ in counts],
        ignore_conflicts=True,
        batch_size=_BATCH,
    )
    for day, rows in groupby(sorted(counts, key=lambda row: row[0][1]), lambda row: row[0][1]):
        rest = list(rows)
        while batch := rest[:_BATCH]:
            rest = rest[_BATCH:]
            more = Case(*(When(key_id=pk, then=Value(n)) for (pk, _), n in batch))
            model._default_manager.filter(day=day, key_id__in=[pk for (pk, _), _ in batch]).update(
                count=F("count") + more
            )


def _clean_ip(text: str | None) -> str | None:
    try:
        # Without the zone of a link-local address, which databases do not take.
        return str(ipaddress.ip_address(text.partition("%")[0])) if text else None
    except ValueError:  # a server on a Unix socket
        return None


def _start() -> None:
    global _writer
    with _lock:
        if _writer is not None:
            return
        atexit.register(_flush_quietly)
        _writer = threading.Thread(target=_run, name="apikeys-usage", daemon=True)
        try:
            _writer.start()
        except RuntimeError:  # no thread to be had, or the interpreter is about to exit
            logger.warning("Writes when keys were last used at exit only.", exc_info=True)


def _run() -> None:
    wake = threading.Event()
    while (interval := app_settings.LAST_USED_INTERVAL) is not None and not wake.wait(interval):
        _flush_quietly()
        connections.close_all()  # an idle process holds none for this


def _flush_quietly() -> None:
    try:
        flush()
    except Exception:  # the thread must outlive a database that is away
        logger.warning("Could not write when keys were last used.", exc_info=True)


def _after_fork() -> None:
    # A child has neither the thread nor the right to its parent's notes.
    global _writer, _lock, _writing
    _lock, _writing = threading.Lock(), threading.Lock()
    _pending.clear()
    _writer = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
