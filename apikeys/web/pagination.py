"""Pages of a list by where they begin: no COUNT, and as fast at the end as at the start."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.utils.http import urlencode


@dataclass(frozen=True)
class Page:
    rows: list[Any]
    #: Query strings of the neighbours; ``None`` where there is none.
    previous: str | None
    next: str | None


def page_of(
    rows: QuerySet[Any],
    params: Mapping[str, str],
    *,
    anchors: QuerySet[Any] | None = None,
    order: str = "-pk",
    name: str = "public_id",
    size: int = 50,
) -> Page:
    """The page of ``rows`` that ``params`` ask for: ``after`` or ``before`` a row's ``name``.

    Rows are in the order of one unique field. ``anchors`` are those whose names count, for
    rows that may have left the list since; any other name has nothing after or before it.
    """
    field, descending = order.removeprefix("-"), order.startswith("-")
    after, before = params.get("after", ""), params.get("before", "")
    backwards = bool(before) and not after
    page = rows
    if cursor := after or before:
        named = (rows if anchors is None else anchors).order_by()
        compare = "lt" if descending != backwards else "gt"
        try:
            # No row has a NUL in its name, and no PostgreSQL takes one.
            bound = named.filter(**{name: cursor}) if "\0" not in cursor else named.none()
            page = rows.filter(**{f"{field}__{compare}": bound.values(field)[:1]})
        except ValueError:  # no primary key
            page = rows.none()
    found = list(page.order_by(f"-{field}" if descending != backwards else field)[: size + 1])
    more, found = len(found) > size, found[:size]
    if backwards:
        found.reverse()

    def link(to: str, row: Any) -> str:
        kept = {k: v for k, v in params.items() if k not in ("after", "before")}
        return "?" + urlencode({**kept, to: getattr(row, name)})

    has_previous, has_next = (more, True) if backwards else (bool(cursor), more)
    return Page(
        found,
        link("before", found[0]) if found and has_previous else None,
        link("after", found[-1]) if found and has_next else None,
    )
