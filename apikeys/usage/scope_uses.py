"""Write which scopes each credential used in which project, and read it: the table ``ScopeUse``.

``apikeys.usage`` collects the notes and calls this from its thread.
"""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db import connections, router
from django.db.models import Max, Min, Q, Sum
from django.utils import timezone

from .. import moments
from ..databases import clock, tenants, transactions
from ..models import ScopeUse
from . import batches, orphans

#: The kind and ID of a credential, as ``credential_of`` in ``apikeys.access`` returns it.
Credential = tuple[str, str]
#: A kind, an ID, the primary key of a project (or ``""``) and the scopes that a view required.
Entry = tuple[str, str, Any, Collection[str]]
#: The number of requests, and when the first and the last of them came, in seconds since 1970.
Tally = list[float]

#: Different entries noted at a place between two writes.
MOST: Final = 20_000
_BATCH: Final = 500
_MANY: Final = 1000
_COLUMNS: Final = (
    "kind", "credential", "project_pk", "scope", "first_used_at", "last_used_at", "count",
)  # fmt: skip
_META: Any = ScopeUse._meta
_LONGEST: Final = [_META.get_field(name).max_length for name in _COLUMNS[:4]]
_Row = tuple[str, str, str, str]


class Used(NamedTuple):
    """The uses of one scope by one credential in all projects, or of all scopes in one project."""

    first: datetime
    last: datetime
    requests: int


lock = threading.Lock()
pending: defaultdict[tenants.Place, dict[Entry, Tally]] = defaultdict(dict)


def forget() -> None:
    """Forget the notes of the parent process."""
    global lock
    lock = threading.Lock()
    pending.clear()


def flush() -> None:
    """Write all notes. Notes that could not be written are kept for the next call."""
    batches.flush(
        lock,
        pending,
        place_of=lambda place: place,
        write=lambda _place, entries: write(entries),
        put_back=lambda place, entries: put_back(pending[place], entries),
    )


def put_back(entries: dict[Entry, Tally], earlier: Mapping[Entry, Tally]) -> None:
    """Add notes that could not be written to ``entries``."""
    for entry, (count, first, last) in earlier.items():
        if (tally := entries.get(entry)) is None:
            entries[entry] = [count, first, last]
        else:
            entries[entry] = [tally[0] + count, min(tally[1], first), max(tally[2], last)]


@transactions.retried
def write(entries: Mapping[Entry, Tally]) -> None:
    """Add ``entries`` to the table."""
    now = clock.now(ScopeUse)
    with transactions.atomic(ScopeUse):
        # Write in a fixed order, so that parallel processes cannot deadlock.
        _add(sorted(_rows(entries, now).items()))


def _rows(entries: Mapping[Entry, Tally], now: datetime) -> dict[_Row, tuple[Any, Any, int]]:
    rows: dict[_Row, tuple[Any, Any, int]] = {}
    for (kind, credential, project, scopes), (count, first, last) in entries.items():
        begin, end, number = min(moments.at(first), now), min(moments.at(last), now), int(count)
        for scope in set(scopes):
            row = (kind, credential, str(project), scope)
            if not all(map(_fits, _LONGEST, row)):
                continue
            if (other := rows.get(row)) is None:
                rows[row] = begin, end, number
            else:
                rows[row] = min(begin, other[0]), max(end, other[1]), number + other[2]
    return rows


def _fits(longest: int, text: str) -> bool:
    return "\0" not in text and len(text) <= longest


def _add(rows: list[tuple[_Row, tuple[Any, Any, int]]]) -> None:
    """Add to the rows, and create missing ones. Takes one statement per batch."""
    connection = connections[router.db_for_write(ScopeUse)]
    quote, ops = connection.ops.quote_name, connection.ops
    table = quote(ScopeUse._meta.db_table)
    names = list(map(quote, _COLUMNS))
    first, last, count = names[4:]
    if connection.vendor == "mysql":
        add = (
            f"ON DUPLICATE KEY UPDATE {first} = LEAST({first}, VALUES({first})), "
            f"{last} = GREATEST({last}, VALUES({last})), {count} = {count} + VALUES({count})"
        )
    else:
        is_sqlite = connection.vendor == "sqlite"
        least, greatest = ("MIN", "MAX") if is_sqlite else ("LEAST", "GREATEST")
        add = (
            f"ON CONFLICT ({', '.join(names[:4])}) DO UPDATE SET "
            f"{first} = {least}({table}.{first}, EXCLUDED.{first}), "
            f"{last} = {greatest}({table}.{last}, EXCLUDED.{last}), "
            f"{count} = {table}.{count} + EXCLUDED.{count}"
        )
    width = len(_COLUMNS)
    size = min(_BATCH, (connection.features.max_query_params or width * _BATCH) // width)
    place = f"({', '.join(['%s'] * width)})"
    with connection.cursor() as cursor:
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(names)}) "  # noqa: S608
                f"VALUES {', '.join([place] * len(batch))} {add}",
                [
                    value
                    for row, (begin, end, number) in batch
                    for value in (
                        *row,
                        ops.adapt_datetimefield_value(begin),
                        ops.adapt_datetimefield_value(end),
                        number,
                    )
                ],
            )


def of(credentials: Iterable[Credential], since: datetime | None = None) -> dict[str, Used]:
    """Return the uses of each scope by any of ``credentials``, in all projects, in one query.

    With ``since``, leave out scopes that were last used before it. The counts are totals, also of
    the time before.
    """
    rows = ScopeUse.objects.filter(_any_of(credentials))
    if since is not None:
        rows = rows.filter(last_used_at__gte=since)
    grouped: Any = rows.order_by().values("scope").annotate(**_SUMS)
    return {row["scope"]: Used(row["first"], row["last"], row["total"]) for row in grouped}


def projects_of(credentials: Iterable[Credential], since: datetime | None = None) -> set[str]:
    """Return the primary keys, as text, of the projects that ``credentials`` used; one query.

    ``""`` stands for requests that named no single project.
    """
    rows = ScopeUse.objects.filter(_any_of(credentials))
    if since is not None:
        rows = rows.filter(last_used_at__gte=since)
    return set(rows.order_by().values_list("project_pk", flat=True).distinct())


def in_project(
    project: Any, credentials: Iterable[Credential] | None = None
) -> dict[Credential, Used]:
    """Return the uses of each credential in ``project``, of any scope, in one query.

    Without ``credentials``, return the uses of all credentials. ``requests`` counts the
    most used scope only, because one request may need several.
    """
    rows = ScopeUse.objects.filter(project_pk=str(project.pk))
    if credentials is not None:
        rows = rows.filter(_any_of(credentials))
    sums = _SUMS | {"total": Max("count")}
    grouped: Any = rows.order_by().values("kind", "credential").annotate(**sums)
    return {
        (row["kind"], row["credential"]): Used(row["first"], row["last"], row["total"])
        for row in grouped
    }


def across_projects(credentials: Sequence[Credential]) -> dict[Credential, datetime]:
    """Return the last request of each credential that was not checked in one project.

    Takes one query for each thousand credentials.
    """
    found: dict[Credential, datetime] = {}
    for first in range(0, len(credentials), _MANY):
        rows = ScopeUse.objects.filter(_any_of(credentials[first : first + _MANY]), project_pk="")
        grouped = rows.order_by().values_list("kind", "credential").annotate(Max("last_used_at"))
        found |= {(kind, credential): last for kind, credential, last in grouped}
    return found


def recorded_since() -> datetime | None:
    """Return when this site began to record uses; ``None`` if nothing was recorded yet."""
    row = ScopeUse.objects.order_by("pk").first()
    return None if row is None else row.first_used_at


_SUMS: Final[dict[str, Any]] = {
    "first": Min("first_used_at"), "last": Max("last_used_at"), "total": Sum("count"),
}  # fmt: skip


def _any_of(credentials: Iterable[Credential]) -> Q:
    by_kind: dict[str, list[str]] = {}
    for kind, credential in credentials:
        by_kind.setdefault(kind, []).append(credential)
    found = Q(pk__in=[])
    for kind, ids in by_kind.items():
        found |= Q(kind=kind, credential__in=ids)
    return found


def prune(kept_for: timedelta, now: datetime | None = None) -> int:
    """Delete rows without a use for ``kept_for``, and rows of deleted keys and projects.

    Return how many.
    """
    rows = ScopeUse.objects.using(router.db_for_write(ScopeUse))
    before = (now or timezone.now()) - kept_for
    gone = orphans.delete(rows.filter(last_used_at__lt=before))
    return gone + orphans.prune(ScopeUse, "credential") + orphans.prune_projects(ScopeUse)
