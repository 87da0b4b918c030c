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
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connections, router, transaction
from django.db.models import Sum
from django.utils import timezone

from . import observations
from .conf import app_settings
from .models import (
    PersonalAccessToken,
    PersonalAccessTokenUsage,
    ProjectKey,
    ProjectKeyUsage,
)

__all__ = ["daily", "flush", "prune"]

AnyKey = PersonalAccessToken | ProjectKey

_USAGE: dict[type[AnyKey], type[PersonalAccessTokenUsage] | type[ProjectKeyUsage]] = {
    PersonalAccessToken: PersonalAccessTokenUsage,
    ProjectKey: ProjectKeyUsage,
}

logger = logging.getLogger("apikeys")

_BATCH = 500  # keys in one statement
_UPSERT = 5000  # rows in one statement
_MOST_PLACES = 10_000  # noted between two writes; a stolen key may come from anywhere


class _Notes:
    """What was noted of the keys of one model since the last write, by primary key."""

    def __init__(self) -> None:
        self.last: dict[int, tuple[datetime, str | None]] = {}
        self.counts: dict[tuple[int, date], int] = {}
        #: When a key was first used from an address, and first refused because of it.
        self.used_from: dict[tuple[int, str | None], datetime] = {}
        self.refused_from: dict[tuple[int, str | None], datetime] = {}

    def add(self, pk: int, at: datetime, ip: str | None) -> None:
        self.last[pk] = at, ip
        day = pk, at.date()
        self.counts[day] = self.counts.get(day, 0) + 1
        if len(self.used_from) < _MOST_PLACES:
            self.used_from.setdefault((pk, ip), at)

    def refuse(self, pk: int, at: datetime, ip: str | None) -> None:
        if len(self.refused_from) < _MOST_PLACES:
            self.refused_from.setdefault((pk, ip), at)

    def put_back(self, earlier: "_Notes") -> None:
        self.last = earlier.last | self.last
        for day, count in earlier.counts.items():
            self.counts[day] = self.counts.get(day, 0) + count
        self.used_from |= earlier.used_from
        self.refused_from |= earlier.refused_from


_lock = threading.Lock()
_writing = threading.Lock()
_pending: defaultdict[type[AnyKey], _Notes] = defaultdict(_Notes)
_writer: threading.Thread | None = None


def record(model: type[AnyKey], pk: int, ip: str | None) -> None:
    """Note that a key was used just now. No query."""
    at = timezone.now()
    with _lock:
        _pending[model].add(pk, at, ip)
    if _writer is None:
        _start_if_needed()


def record_refusal(model: type[AnyKey], pk: int, ip: str | None) -> None:
    """Note that a right key was refused because of where it came from. No query."""
    at = timezone.now()
    with _lock:
        _pending[model].refuse(pk, at, ip)
    if _writer is None:
        _start_if_needed()


def _start_if_needed() -> None:
    if app_settings.LAST_USED_INTERVAL is not None:
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
    used_before: dict[int, str | None] = {}
    pks = sorted(notes.last)
    for start in range(0, len(pks), _BATCH):
        batch = rows.filter(pk__in=pks[start : start + _BATCH])
        for pk, at, ip in batch.values_list("pk", "last_used_at", "last_used_ip"):
            written[pk], used_before[pk] = at, ip
    # In one order, so that two processes never wait for each other.
    keys: list[Any] = [
        model(pk=pk, last_used_at=at, last_used_on=at.date(), last_used_ip=_clean_ip(ip))
        for pk, (at, ip) in sorted(notes.last.items())
        if pk not in written or written[pk] < at
    ]
    fields = ["last_used_at", "last_used_on", "last_used_ip"]
    model._default_manager.bulk_update(keys, fields, batch_size=_BATCH)
    _count(_USAGE[model], sorted(notes.counts.items()))
    observations.tell(model, used_before, _clean(notes.used_from), _clean(notes.refused_from))


def _clean(
    places: dict[tuple[int, str | None], datetime],
) -> dict[tuple[int, str | None], datetime]:
    return {(pk, _clean_ip(ip)): at for (pk, ip), at in reversed(places.items())}


def _count(model: Any, counts: Sequence[tuple[tuple[int, date], int]]) -> None:
    """Add to the counts of days; makes those that are not there. One statement a batch."""
    connection = connections[router.db_for_write(model)]
    table, key, day, count = map(
        connection.ops.quote_name, (model._meta.db_table, "key_id", "day", "count")
    )
    if connection.vendor == "mysql":
        add = f"ON DUPLICATE KEY UPDATE {count} = {count} + VALUES({count})"
    else:
        add = (
            f"ON CONFLICT ({key}, {day}) DO UPDATE SET {count} = {table}.{count} + EXCLUDED.{count}"
        )
    size = min(_UPSERT, (connection.features.max_query_params or 3 * _UPSERT) // 3)
    with connection.cursor() as cursor:
        for start in range(0, len(counts), size):
            batch = counts[start : start + size]
            rows = ", ".join(["(%s, %s, %s)"] * len(batch))
            cursor.execute(
                f"INSERT INTO {table} ({key}, {day}, {count}) VALUES {rows} {add}",  # noqa: S608
                [
                    value
                    for (pk, date_), n in batch
                    for value in (pk, connection.ops.adapt_datefield_value(date_), n)
                ],
            )


def prune(daily_for: timedelta, kept_for: timedelta, now: datetime | None = None) -> int:
    """Make one row a month of what is older than ``daily_for``, and none after ``kept_for``.

    The row of a month stands on its first day. Only whole months are rolled up, so that a
    day which is shown is never a month. Returns how many rows went.
    """
    today = (now or timezone.now()).date()
    gone = 0
    for model in _USAGE.values():
        rows = model._default_manager.using(router.db_for_write(model))
        gone += _delete(rows.filter(day__lt=(today - kept_for).replace(day=1)))
        before = (today - daily_for).replace(day=1)
        unrolled = rows.filter(day__lt=before).exclude(day__day=1)
        for first in list(unrolled.dates("day", "month")):
            after = (first + timedelta(days=31)).replace(day=1)
            gone += _roll_up(model, rows.filter(day__gt=first, day__lt=after), first)
    return gone


def _roll_up(model: Any, rows: Any, first: date) -> int:
    gone, last = 0, 0
    while True:
        keys = rows.filter(key_id__gt=last).order_by("key_id").values_list("key_id", flat=True)
        if not (batch := list(keys.distinct()[:_BATCH])):
            return gone
        last = batch[-1]
        with transaction.atomic(using=rows.db):
            mine = rows.filter(key_id__in=batch).order_by("key_id")
            sums = mine.values_list("key_id").annotate(total=Sum("count"))
            _count(model, [((key, first), total) for key, total in sums])
            gone += _delete(mine)


def _delete(rows: Any) -> int:
    deleted: int = rows.order_by()._raw_delete(rows.db)
    return deleted


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
