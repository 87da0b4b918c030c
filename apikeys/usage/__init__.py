"""Record the last use of each key and its requests per day, without a write during the request.

A request adds a note in memory. A thread writes the notes every ``LAST_USED_INTERVAL`` seconds
and when the process exits. A killed process loses the notes since the last write. Rate limits
are in ``apikeys.limits``.
"""

import atexit
import ipaddress
import logging
import os
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta
from time import time
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections, router
from django.http import HttpRequest
from django.utils import timezone

from ..access import PERSONAL_ACCESS_TOKEN, PROJECT_KEY, Access, credential_of
from ..conf import app_settings
from ..databases import clock, tenants, transactions
from ..limits import networks
from ..models import AnyKey, EndedUse, ProjectAccess, ScopeUse
from ..refusals import Refused
from . import batches, counts, ended, findings, orphans, scope_uses
from .ended import ENDS, Uses

__all__ = ["anote_scopes", "daily", "flush", "note_scopes", "prune"]

_KINDS = frozenset({PERSONAL_ACCESS_TOKEN, PROJECT_KEY})

logger = logging.getLogger("apikeys")

_BATCH = 500  # keys in one statement
_SKEW = timedelta(minutes=1)  # usual difference between the clocks of servers
_MOST_PLACES = 10_000  # addresses noted between two writes; a stolen key may have many


class _Notes:
    """Notes about the keys of one model since the last write, by primary key."""

    def __init__(self) -> None:
        self.last: dict[int, tuple[datetime, str | None]] = {}
        self.counts: dict[tuple[int, date], int] = {}
        #: When a key was first used from an address, and first refused from an address.
        self.used_from: dict[tuple[int, str | None], datetime] = {}
        self.refused_from: dict[tuple[int, str | None], datetime] = {}
        #: Uses of a correct secret after the end of its key, or in a project that denied it.
        self.ended: dict[ended.Where, Uses] = {}

    def add(self, pk: int, at: datetime, ip: str | None) -> None:
        """Note a use."""
        self.last[pk] = at, ip
        day = pk, at.date()
        self.counts[day] = self.counts.get(day, 0) + 1
        if len(self.used_from) < _MOST_PLACES:
            self.used_from.setdefault((pk, ip), at)

    def refuse(self, pk: int, at: datetime, ip: str | None) -> None:
        """Note a refusal because of the address."""
        if len(self.refused_from) < _MOST_PLACES:
            self.refused_from.setdefault((pk, ip), at)

    def add_ended(self, where: ended.Where, uses: Uses) -> None:
        """Note uses after the end of a key."""
        if (earlier := self.ended.get(where)) is not None:
            earlier.add(uses)
        elif len(self.ended) < _MOST_PLACES:
            self.ended[where] = uses

    def put_back(self, earlier: "_Notes") -> None:
        """Add notes that could not be written."""
        self.last = earlier.last | self.last
        for day, count in earlier.counts.items():
            self.counts[day] = self.counts.get(day, 0) + count
        self.used_from |= earlier.used_from
        self.refused_from |= earlier.refused_from
        later, self.ended = self.ended, earlier.ended
        for where, uses in later.items():
            self.add_ended(where, uses)


_lock = threading.Lock()
_writing = threading.Lock()
# By model and place, because keys of two tenants may have the same primary keys.
_pending: defaultdict[tuple[type[AnyKey], tenants.Place], _Notes] = defaultdict(_Notes)
_writer: threading.Thread | None = None


def note_use(model: type[AnyKey], pk: int, ip: str | None) -> None:
    """Note that a key was used just now. Makes no query."""
    at, place = timezone.now(), tenants.place_of(model) or tenants.ask_place_of(model)
    with _lock:
        _pending[model, place].add(pk, at, ip)
    if _writer is None:
        _start_if_needed()


def note_refusal(model: type[AnyKey], pk: int, ip: str | None) -> None:
    """Note that a valid key was refused because of the client's address. Makes no query."""
    at, place = timezone.now(), tenants.place_of(model) or tenants.ask_place_of(model)
    with _lock:
        _pending[model, place].refuse(pk, at, ip)
    if _writer is None:
        _start_if_needed()


def note_ended(
    model: type[AnyKey],
    pk: int,
    ip: str | None,
    code: str,
    project: str = "",
    denied_at: datetime | None = None,
) -> None:
    """Note that the correct secret of a key was refused because the key has ended.

    ``code`` is the code of the refusal, such as ``revoked_key``. Makes no query. The first use
    after each end is written to the audit log. For a token that is denied in one project, pass
    the project's primary key as text, and when it was denied.
    """
    at, place = timezone.now(), tenants.place_of(model) or tenants.ask_place_of(model)
    with _lock:
        uses = Uses(code, at, at, ip, ip, denied_at=denied_at)
        _pending[model, place].add_ended((pk, project), uses)
    if _writer is None:
        _start_if_needed()


def note_if_ended(
    model: type[AnyKey], pk: int, request: HttpRequest | None, refused: Refused
) -> None:
    """Note a use like ``note_ended`` if the reason of ``refused`` is the end of the key."""
    if (code := refused.refusal.code) in ENDS:
        note_ended(model, pk, networks.client_ip(request), code)


def note_scopes(access: Access, required: Collection[str], project: Any = "") -> None:
    """Note that a request was granted ``required`` (a tuple or frozenset). Makes no query.

    ``project`` is the primary key of the one project that the request was checked in. A project's
    credential always counts for its project. The adapters call this once per granted request.
    """
    kind, credential = access.kind, access.credential_id
    if kind not in _KINDS:  # a key's own use saves a call at every request
        kind, credential = credential_of(access)
    if not credential or not required:
        return
    if access.project is not None:
        project = access.project.pk
    place = tenants.place_of(ScopeUse) or tenants.ask_place_of(ScopeUse)
    entry, at = (kind, credential, project, required), time()
    with scope_uses.lock:
        entries = scope_uses.pending[place]
        if (tally := entries.get(entry)) is not None:
            tally[0] += 1
            tally[2] = at
        elif len(entries) < scope_uses.MOST:
            entries[entry] = [1, at, at]
    if _writer is None:
        _start_if_needed()


async def anote_scopes(access: Access, required: Collection[str], project: Any = "") -> None:
    """Note like ``note_scopes``, in a thread if only a query can tell the tenant."""
    try:
        note_scopes(access, required, project)
    except SynchronousOnlyOperation:
        await sync_to_async(note_scopes)(access, required, project)


def _start_if_needed() -> None:
    if app_settings.LAST_USED_INTERVAL is not None:
        _start()


def daily(model: type[AnyKey], pks: Iterable[int], days: int = 30) -> dict[int, list[int]]:
    """Return the number of requests of each key on each of the last ``days``, oldest first.

    Takes one query.
    """
    today = timezone.now().date()
    found = {pk: [0] * days for pk in pks}
    rows = counts.USAGE[model]._default_manager.filter(
        key__in=list(found), day__gt=today - timedelta(days=days), day__lte=today
    )
    for pk, day, count in rows.values_list("key_id", "day", "count"):
        found[pk][days - 1 - (today - day).days] = count
    return found


def flush() -> int:
    """Write all notes to the database; return the number of keys.

    Waits for a flush in another thread, because the process may exit afterwards.
    """
    with _writing:
        return _flush()


def _flush() -> int:
    try:
        return _flush_uses()
    finally:
        scope_uses.flush()


def _flush_uses() -> int:
    written = batches.flush(
        _lock,
        _pending,
        place_of=lambda of: of[1],
        write=lambda of, notes: _write(of[0], notes),
        put_back=lambda of, notes: _pending[of].put_back(notes),
    )
    return sum(len(notes.last) for notes in written)


@transactions.retried
def _write(model: type[AnyKey], notes: _Notes) -> None:
    with transactions.atomic(model):
        _write_all(model, notes)


def _write_all(model: type[AnyKey], notes: _Notes) -> None:
    now = clock.now(model)
    rows: Any = model._default_manager.using(router.db_for_write(model)).filter(
        last_used_at__isnull=False
    )
    written: dict[int, datetime] = {}  # last uses in the database
    used_before: dict[int, str | None] = {}
    pks = sorted(notes.last)
    for start in range(0, len(pks), _BATCH):
        batch = rows.filter(pk__in=pks[start : start + _BATCH])
        for pk, at, ip in batch.values_list("pk", "last_used_at", "last_used_ip"):
            written[pk], used_before[pk] = at, ip
    # Write in a fixed order, so that parallel processes cannot deadlock.
    keys: list[Any] = [
        model(pk=pk, last_used_at=at, last_used_on=at.date(), last_used_ip=_clean_ip(ip))
        for pk, (at, ip) in sorted(_until(notes.last, now).items())
        # Also replace a time in the future, written by a server with a fast clock.
        if pk not in written or not at <= written[pk] <= now + _SKEW
    ]
    fields = ["last_used_at", "last_used_on", "last_used_ip"]
    model._default_manager.bulk_update(keys, fields, batch_size=_BATCH)
    by_day: dict[tuple[int, date], int] = {}
    for (pk, day), count in notes.counts.items():
        there = pk, min(day, now.date())
        by_day[there] = by_day.get(there, 0) + count
    counts.add(counts.USAGE[model], sorted(by_day.items()))
    used, refused = (_clean(places, now) for places in (notes.used_from, notes.refused_from))
    findings.tell(model, used_before, used, refused)
    for uses in notes.ended.values():
        uses.first_at, uses.last_at = min(uses.first_at, now), min(uses.last_at, now)
        uses.first_ip, uses.last_ip = _clean_ip(uses.first_ip), _clean_ip(uses.last_ip)
    ended.write(model, notes.ended)


def _until(last: dict[int, tuple[datetime, str | None]], now: datetime) -> dict[int, Any]:
    return {pk: (min(at, now), ip) for pk, (at, ip) in last.items()}


def _clean(
    places: dict[tuple[int, str | None], datetime], now: datetime
) -> dict[tuple[int, str | None], datetime]:
    return {(pk, _clean_ip(ip)): min(at, now) for (pk, ip), at in reversed(places.items())}


def prune(daily_for: timedelta, kept_for: timedelta, now: datetime | None = None) -> int:
    """Combine daily counts older than ``daily_for`` into months; delete those after ``kept_for``.

    Also delete the uses of scopes that ended before ``kept_for``, or whose key or project was
    deleted, uses after the end of a key before ``kept_for``, and what else is stored about deleted
    keys and projects. Return the number of deleted rows.
    """
    gone = counts.prune(daily_for, kept_for, now) + scope_uses.prune(kept_for, now)
    gone += orphans.prune(EndedUse, "public_id") + orphans.prune(ProjectAccess, "credential")
    return gone + orphans.prune_projects(EndedUse) + ended.prune(kept_for, now)


def _clean_ip(text: str | None) -> str | None:
    try:
        # Databases do not store the zone of a link-local address.
        return str(ipaddress.ip_address(text.partition("%")[0])) if text else None
    except ValueError:  # for example, of a server on a Unix socket
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
        except RuntimeError:  # no thread can be started, or the interpreter is exiting
            logger.warning("The last use of keys is only written at exit.", exc_info=True)


def _run() -> None:
    wake = threading.Event()
    while (interval := app_settings.LAST_USED_INTERVAL) is not None and not wake.wait(interval):
        _flush_quietly()
        connections.close_all()  # keep no connection open in the meantime


def _flush_quietly() -> None:
    try:
        flush()
    except Exception:  # the thread must survive a database outage
        logger.warning("Could not write the last use of keys.", exc_info=True)


def _after_fork() -> None:
    # A child process has no thread yet, and must not write the notes of its parent.
    global _writer, _lock, _writing
    _lock, _writing = threading.Lock(), threading.Lock()
    _pending.clear()
    scope_uses.forget()
    _writer = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# The names in version 1.0.
record, record_refusal = note_use, note_refusal
