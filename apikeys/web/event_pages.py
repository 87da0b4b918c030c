"""Pages of audit events that take a bounded time, however many events there are.

Indexes list the events of an owner, or of one event of an owner, by age or by time. Other filters
look at a bounded number of events per page, and the page links to the older ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from django.db.models import Q, QuerySet

from ..keys.event_queries import Asked, keys_first, of_few
from ..models import AuditEvent
from .pagination import Page, link

#: The events that a page looks at, at most, for a filter without an index.
MOST: Final = 1_000
_FIRST: Final = 500  # of them, in a first query: mostly they fill the page


@dataclass(frozen=True)
class EventPage(Page):
    #: Whether the page stopped before it was full, and further events may match.
    is_partial: bool = False


def page_of(
    parts: Sequence[QuerySet[Any]], asked: Asked, params: Mapping[str, str], *, size: int
) -> EventPage:
    """Return a page of the events of all ``parts``, newest first.

    ``params`` may have ``after`` or ``before``, the primary key of an event. Takes a few short
    queries for each part, and looks at ``MOST`` events at most.
    """
    after, before = params.get("after", ""), params.get("before", "")
    backwards, cursor = bool(before) and not after, after or before
    beyond = _beyond(parts, asked, cursor, newer=backwards) if cursor else Q()
    if beyond is None:
        return EventPage([], None, None)
    found: list[Any] = []
    ends: list[tuple[Any, ...]] = []
    for part in parts:
        rows, end = _walk(part.filter(beyond), asked, size, MOST // len(parts), newer=backwards)
        found += rows
        ends += [end] if end is not None else []
    # If one part stopped, the others end there too, because it may have matches between theirs.
    nearest = (min if backwards else max)(ends) if ends else None
    places = [(asked.place(row), row) for row in found]
    found = [
        row
        for place, row in sorted(places, key=itemgetter(0), reverse=not backwards)
        if nearest is None or (place <= nearest if backwards else place >= nearest)
    ]
    more, found = len(found) > size, found[:size]
    is_partial = nearest is not None and not more
    # The rows at both ends, in the direction of the walk.
    first = found[0].pk if found else None
    last = nearest[-1] if is_partial and nearest else found[-1].pk if found else None
    if backwards:
        found.reverse()
        newest, oldest, has_newer, has_older = last, first, more or is_partial, True
    else:
        newest, oldest, has_newer, has_older = first, last, bool(cursor), more or is_partial
    return EventPage(
        found,
        link(params, "before", newest) if newest is not None and has_newer else None,
        link(params, "after", oldest) if oldest is not None and has_older else None,
        is_partial,
    )


def _walk(
    events: QuerySet[Any], asked: Asked, size: int, most: int, *, newer: bool
) -> tuple[list[Any], tuple[Any, ...] | None]:
    """Return up to one more than ``size`` matches, and where the walk stopped.

    The place is ``None`` if it found as many, or reached the last event.
    """
    events, others = asked.split(events.order_by(*asked.ordering(newer=newer)))
    if not others:
        return list(keys_first(events)[: size + 1]), None
    places = list(events.values_list(*asked.order)[:most])
    found: list[Any] = []
    order = of_few(asked.ordering(newer=newer))
    for chunk in (places[:_FIRST], places[_FIRST:]):
        rows = AuditEvent.objects.using(events.db).filter(others, pk__in=[pk for *_at, pk in chunk])
        found += rows.order_by(*order)[: size + 1 - len(found)]
        if len(found) > size:
            return found, None
    return found, places[-1] if len(places) == most else None


def _beyond(parts: Iterable[QuerySet[Any]], asked: Asked, cursor: str, *, newer: bool) -> Q | None:
    """Match the events on one side of the event ``cursor``. ``None`` if it is not one."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        return None
    place: tuple[Any, ...] | None = (int(cursor),)
    if asked.is_by_time:
        named = (part.filter(pk=int(cursor)).order_by() for part in parts)
        found = (each.values_list(*asked.order).first() for each in named)
        place = next((each for each in found if each is not None), None)
    return None if place is None else _compare(place, "gt" if newer else "lt")


def _compare(place: tuple[Any, ...], lookup: str) -> Q:
    """Match the events on one side of ``place``, which has a time only if they are sorted by it."""
    *at, pk = place
    by_pk = Q(**{f"pk__{lookup}": pk})
    if not at:
        return by_pk
    strict = lookup.removesuffix("e")
    # The first condition is a range of an index.
    return Q(**{f"at__{strict}e": at[0]}) & (Q(**{f"at__{strict}": at[0]}) | by_pk)
