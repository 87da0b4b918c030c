"""Read rotation chains of keys, in few queries.

A key that replaced an ended one without a rotation (``AbstractKey.replaces``) starts a new chain:
someone who has the old secret never knew the new one. So the end of an old key cannot end it.
"""

from collections.abc import Iterable
from typing import Any, Final

from django.db import connections, router
from django.db.models import Case, F, When

#: Links of a rotation chain that one query follows. MariaDB follows 1,000 at most, and then stops
#: without an error.
_LINKS: Final = 500
#: Rows that one query reads by their primary keys.
_ROWS: Final = 5000


def rotated_into(field: str) -> Case:
    """Return ``field`` of the key that was rotated into each key, or else ``NULL``."""
    return Case(When(replaces__rotated_at__isnull=False, then=F(field)))


def chains(
    keys: Iterable[Any], *, newer: bool = False, most: int | None = None
) -> dict[Any, list[Any]]:
    """Return the predecessors of each of ``keys`` (all of one model), or with ``newer`` the
    successors, by primary key, nearest first. ``most`` bounds their number.

    Two queries per 500 links, for all keys together. Read the primary database around it.
    """
    keys = list(keys)
    found: dict[Any, list[Any]] = {key.pk: [] for key in keys}
    if not keys:
        return found
    model: Any = type(keys[0])
    ends = {pk: pk for pk in found}  # where each chain continues
    while ends:
        links = _links(model, ends.values(), newer, min(_LINKS, most or _LINKS))
        rows = model._default_manager.using(router.db_for_write(model)).in_bulk(set(links.values()))
        following = {}
        for first, end in ends.items():
            chain = found[first]
            for _link in range(_LINKS):
                if (end := links.get(end)) not in rows or (most and len(chain) >= most):
                    break
                chain.append(rows[end])
            else:
                following[first] = end
        ends = following
    return found


def predecessors_of(keys: Iterable[Any], *fields: Any) -> dict[Any, tuple[Any, ...]]:
    """Return the values of ``fields`` of all predecessors of ``keys`` (all of one model).

    By primary key, in no particular order. Two queries per 500 links, like ``chains``, but loads
    no objects.
    """
    keys = [key for key in keys if key.replaces_id is not None]
    if not keys:
        return {}
    model: Any = type(keys[0])
    rows = model._default_manager.using(router.db_for_write(model)).order_by()
    found: dict[Any, Any] = {}
    ends: list[Any] = [key.pk for key in keys]
    while ends:
        links = _links(model, ends, False, _LINKS)
        older = sorted(set(links.values()) - found.keys())
        for start in range(0, len(older), _ROWS):
            pks = older[start : start + _ROWS]
            found.update(
                (row[0], row[1:]) for row in rows.filter(pk__in=pks).values_list("pk", *fields)
            )
        # Only a chain with as many links as one query follows can be longer.
        ends = [pk for pk in older if pk not in links] if len(links) >= _LINKS else []
    return found


def _links(model: Any, ends: Iterable[Any], newer: bool, most: int) -> dict[Any, Any]:
    """Return the next key by primary key, for up to ``most`` links after each of ``ends``."""
    connection = connections[router.db_for_write(model)]
    quote = connection.ops.quote_name
    columns = model._meta.pk.column, model._meta.get_field("replaces").column
    one, other = (quote(name) for name in (columns[::-1] if newer else columns))
    table, given = quote(model._meta.db_table), sorted(ends)
    pk, replaces, at = (
        quote(model._meta.get_field(name).column) for name in ("id", "replaces", "rotated_at")
    )
    rotated = f"JOIN {table} old ON old.{pk} = k.{replaces} AND old.{at} IS NOT NULL"
    found: dict[Any, Any] = {}
    for start in range(0, len(given), _LINKS):
        pks = given[start : start + _LINKS]
        marks = ", ".join(["%s"] * len(pks))
        with connection.cursor() as cursor:
            # Names from the models and placeholders only.
            cursor.execute(
                f"WITH RECURSIVE links (one, other, number) AS ("  # noqa: S608
                f"SELECT k.{one}, k.{other}, 1 FROM {table} k {rotated} WHERE k.{one} IN ({marks}) "
                f"UNION ALL SELECT k.{one}, k.{other}, number + 1 FROM {table} k {rotated} "
                f"JOIN links ON k.{one} = links.other WHERE number < %s) "
                f"SELECT one, other FROM links",
                [*pks, most],
            )
            found.update(cursor.fetchall())
    return found
