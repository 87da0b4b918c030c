"""Add to the counts of requests by day, and combine old ones into months."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connections, router

from ..databases import clock, transactions
from ..models import (
    AnyKey,
    PersonalAccessToken,
    PersonalAccessTokenUsage,
    ProjectKey,
    ProjectKeyUsage,
)

USAGE: dict[type[AnyKey], type[PersonalAccessTokenUsage] | type[ProjectKeyUsage]] = {
    PersonalAccessToken: PersonalAccessTokenUsage,
    ProjectKey: ProjectKeyUsage,
}

UPSERT = 5000  # rows in one statement
_BATCH = 500  # keys in one statement


def add(model: Any, counts: Sequence[tuple[tuple[int, date], int]]) -> None:
    """Add to the counts of days, and create missing rows. Takes one statement per batch."""
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
    size = min(UPSERT, (connection.features.max_query_params or 3 * UPSERT) // 3)
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
    """Combine daily counts older than ``daily_for`` into months; delete those after ``kept_for``.

    A month is stored on its first day. Only whole months are combined, so that no day
    which is shown stands for a month. Return the number of deleted rows.
    """
    gone = 0
    for model in USAGE.values():
        today = (now or clock.now(model)).date()
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
        gone += _roll_up_keys(model, rows.filter(key_id__in=batch), first)


@transactions.retried
def _roll_up_keys(model: Any, rows: Any, first: date) -> int:
    """Add these rows to the rows of ``first`` and delete them; return how many.

    Locks them first, because another process may combine the same rows.
    """
    with transactions.atomic(model):
        locked = rows.select_for_update().order_by("pk").values_list("pk", "key_id", "count")
        sums: Counter[int] = Counter()
        pks = []
        for pk, key, count in locked:
            sums[key] += count
            pks.append(pk)
        add(model, [((key, first), total) for key, total in sorted(sums.items())])
        for start in range(0, len(pks), _BATCH):
            rows.filter(pk__in=pks[start : start + _BATCH])._raw_delete(rows.db)
    return len(pks)


@transactions.retried
def _delete(rows: Any) -> int:
    deleted: int = rows.order_by()._raw_delete(rows.db)
    return deleted
