"""Find audit events by an index, however many events there are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Func, Q, QuerySet
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact
from django.db.models.query import ModelIterable

from ..models import AuditEvent
from .queries import FEW


class _KeysFirst(ModelIterable):  # type: ignore[type-arg]
    """Fetch the primary keys of a page first, from an index alone, then only those rows."""

    def __iter__(self) -> Iterator[Any]:
        page: Any = self.queryset
        if not page.query.is_sliced:
            yield from super().__iter__()
            return
        pks = list(page.values_list("pk", flat=True))
        # Without the conditions and the order of the page, which other indexes cover.
        found = AuditEvent.objects.using(page.db).in_bulk(pks)
        yield from (found[pk] for pk in pks if pk in found)


def keys_first(events: QuerySet[Any]) -> QuerySet[Any]:
    """Return ``events`` so that a page takes two queries: its primary keys, then its rows.

    A database that fetched the rows as well might walk the whole table for them, because it
    guesses that many match.
    """
    found: QuerySet[Any] = events.all()
    # Django has no public API to set the iterable class of a queryset.
    vars(found)["_iterable_class"] = _KeysFirst
    return found


def of_few(order: Iterable[Any]) -> list[Any]:
    """Return the same ``order`` for events that are named by their primary keys.

    No index has this expression. MariaDB would walk the whole index of the time to find them.
    """
    at = Coalesce("at", "at")
    without_index = {"at": at.asc(), "-at": at.desc()}
    return [without_index.get(name, name) for name in order]


class _Read(Func):
    """A column to compare in rows that were found by the time.

    By the index of this column, MariaDB would find all events of an owner, and sort them for one
    page.
    """

    template = "%(expressions)s"

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return super().as_sql(compiler, connection, template="COALESCE(%(expressions)s)", **extra)


@dataclass(frozen=True)
class Asked:
    """The filters of a list of events, by the way in which the database finds the events."""

    #: The ID of a key. An index finds its events.
    key: str = ""
    #: The name of an event.
    event: str = ""
    #: The conditions on the time. A list with any is sorted by time, and others by age.
    times: Q = field(default_factory=Q)
    #: The other conditions.
    others: Q = field(default_factory=Q)
    #: The IDs of more keys to list events of.
    replaced: tuple[str, ...] = ()

    @property
    def _keys(self) -> tuple[str, ...]:
        return (self.key, *self.replaced)

    @property
    def is_by_time(self) -> bool:
        return bool(self.times)

    @property
    def order(self) -> tuple[str, ...]:
        """The fields to sort by, in ascending order."""
        return ("at", "pk") if self.is_by_time else ("pk",)

    def ordering(self, *, newer: bool = False) -> list[str]:
        """Return the arguments of ``order_by``: newest first, or with ``newer`` oldest first."""
        return [name if newer else f"-{name}" for name in self.order]

    def place(self, event: Any) -> tuple[Any, ...]:
        """Return the values that ``event`` is sorted by."""
        return tuple(getattr(event, name) for name in self.order)

    def all(self, events: QuerySet[Any]) -> QuerySet[Any]:
        """Return all ``events`` that match, for an export."""
        if self.replaced:
            events = events.filter(public_id__in=self._keys)
        elif self.key:
            events = events.filter(public_id=self.key)
        if self.event:
            events = events.filter(event=self.event)
        return events.filter(self.times, self.others)

    def split(self, events: QuerySet[Any], of_event: Q | None = None) -> tuple[QuerySet[Any], Q]:
        """Return the events that an index finds in order, and the conditions that remain.

        Two short queries if both an event and a time are given, one for several keys. With both,
        the condition ``of_event`` remains.
        """
        if self.replaced:
            # A database would rather walk all events of the owner in order.
            rows = AuditEvent.objects.using(events.db).filter(public_id__in=self._keys).order_by()
            pks = list(rows.values_list("pk", flat=True)[: FEW + 1])
            if len(pks) <= FEW:
                order = of_few(events.query.order_by)
                return self.all(events).filter(pk__in=pks).order_by(*order), Q()
        if self.key:  # one key has few events
            return self.all(events), Q()
        if not self.event:
            return events.filter(self.times), self.others
        named = events.filter(event=self.event)
        if not self.is_by_time:
            return named, self.others
        pks = list(named.order_by().values_list("pk", flat=True)[: FEW + 1])
        if len(pks) <= FEW:
            # Only by primary key: a database would rather walk an index in the order of time.
            rows = AuditEvent.objects.using(events.db).order_by()
            found = list(rows.filter(self.times, pk__in=pks).values_list("pk", flat=True))
            return rows.filter(pk__in=found).order_by(*of_few(events.query.order_by)), self.others
        return events.filter(self.times), self.others & (of_event or Q(event=self.event))

    def newest(self, events: QuerySet[Any], limit: int) -> list[Any]:
        """Return the newest ``limit`` matches among ``events``, newest first."""
        of_event: Any = Exact(_Read("event"), self.event)
        found, others = self.split(events.order_by(*self.ordering()), Q(of_event))
        return list(keys_first(found.filter(others))[:limit])
