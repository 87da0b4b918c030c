"""Cursor pagination: no COUNT, and the last page is as fast as the first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.http import urlencode


@dataclass(frozen=True)
class Page:
    rows: list[Any]
    #: Query strings of the previous and the next page. ``None`` at the ends of the list.
    previous: str | None
    next: str | None


def page_of(
    rows: QuerySet[Any],
    params: Mapping[str, str],
    *,
    anchors: QuerySet[Any] | None = None,
    order: str = "-pk",
    by: Any = None,
    name: str = "public_id",
    size: int = 50,
) -> Page:
    """Return the page of ``rows`` after or before the row that ``params`` name.

    ``params`` may have ``after`` or ``before``, whose value is the ``name`` field of a row.
    ``order`` is one unique field. ``by`` is an expression to sort by first, in the same
    direction, that is never null. The named row is looked up in ``anchors``, because it may
    have left the list since. An unknown name returns an empty page.
    """
    field, descending = order.removeprefix("-"), order.startswith("-")
    after, before = params.get("after", ""), params.get("before", "")
    backwards = bool(before) and not after
    if by is not None:
        rows = rows.alias(sorted_by=by)
    page = rows
    if cursor := after or before:
        named = (rows if anchors is None else anchors).order_by()
        compare = "lt" if descending != backwards else "gt"
        try:
            # PostgreSQL raises an error for a NUL character.
            bound = named.filter(**{name: cursor}) if "\0" not in cursor else named.none()
            page = rows.filter(_beyond(bound, field, compare, by))
        except ValueError:  # not a valid primary key
            page = rows.none()
    sign = "-" if descending != backwards else ""
    fields = (field,) if by is None else ("sorted_by", field)
    found = list(page.order_by(*(f"{sign}{each}" for each in fields))[: size + 1])
    more, found = len(found) > size, found[:size]
    if backwards:
        found.reverse()

    has_previous, has_next = (more, True) if backwards else (bool(cursor), more)
    return Page(
        found,
        link(params, "before", getattr(found[0], name)) if found and has_previous else None,
        link(params, "after", getattr(found[-1], name)) if found and has_next else None,
    )


def link(params: Mapping[str, str], to: str, value: Any) -> str:
    """Return the query string of ``params`` for the page ``to`` a row: ``after`` or ``before``."""
    kept = {k: v for k, v in params.items() if k not in ("after", "before")}
    return "?" + urlencode({**kept, to: value})


def _beyond(bound: QuerySet[Any], field: str, compare: str, by: Any) -> Q:
    """Match the rows on one side of the row in ``bound``. No row if ``bound`` is empty."""
    if by is None:
        return Q(**{f"{field}__{compare}": bound.values(field)[:1]})
    place = bound.annotate(sorted_by=by).values_list("sorted_by", field).first()
    if place is None:
        return Q(pk__in=[])
    value, last = place
    tied = Q(sorted_by=value, **{f"{field}__{compare}": last})
    return Q(**{f"sorted_by__{compare}": value}) | tied
