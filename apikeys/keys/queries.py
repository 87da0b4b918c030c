"""Filters for keys that stay fast at a million rows, however many rows match."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import connections
from django.db.models import Exists, Max, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Lower
from django.db.models.lookups import (
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
)
from django.db.models.query import ModelIterable
from django.utils import timezone

from .. import moments
from ..conf import app_settings
from ..models import KEY_MODELS, State

#: Up to this many matches, a filter lists their primary keys. Beyond it, pages walk by age.
FEW: Final = 5000


class _Moment(Coalesce):
    """Coalesce two moments. Without a common type, MariaDB returns text."""

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return super().as_sql(
            compiler,
            connection,
            template="CAST(%(function)s(%(expressions)s) AS datetime(6))",
            **extra,
        )


# No index covers these expressions. So a database that pages by age cannot choose such an
# index, and then sort all matching keys for one page.
def _paused_at() -> Coalesce:
    return _Moment("paused_at", Value(moments.never()))


def _revoked_at() -> Coalesce:
    return _Moment("revoked_at", Value(moments.never()))


def _expires_at() -> Coalesce:
    return _Moment("expires_at", Value(moments.never()))


def _ended_at() -> Coalesce:
    return _Moment("revoked_at", "expires_at", Value(moments.never()))


def _used_at() -> Coalesce:
    return _Moment("last_used_at", Value(moments.long_ago()))


class _KeysFirst(ModelIterable):  # type: ignore[type-arg]
    """Fetch the primary keys of a page first, from an index alone, then only those rows."""

    def __iter__(self) -> Iterator[Any]:
        page: Any = self.queryset
        if page.query.is_sliced:
            pks = _pks_of(page)
            page = page.all()
            page.query.clear_limits()
            self.queryset = page.filter(pk__in=pks)
        return super().__iter__()


def _pks_of(page: Any) -> list[Any]:
    """Return the primary keys of a page.

    MariaDB takes a second to walk past a million newer keys that do not match. So on the first
    page, look at the newest keys, and then find the newest match by the indexes of the pieces.
    """
    walk: _Walk | None = getattr(page.query, "_walk", None)
    rows = page.values_list("pk", flat=True)
    if walk is None or connections[page.db].vendor != "mysql" or not walk.begins(page.query):
        return list(rows)
    limit = page.query.high_mark
    ends = walk.keys.order_by("-pk").values_list("pk", flat=True)[FEW : FEW + 1]
    if (end := next(iter(ends), None)) is None:
        return list(rows)
    rows = rows.all()
    rows.query.clear_limits()
    pks = list(rows.filter(pk__gte=end)[:limit])
    if len(pks) == limit:
        return pks
    newest = [
        walk.keys.order_by().filter(piece).aggregate(newest=Max("pk"))["newest"]
        for piece in walk.pieces
    ]
    last = max((pk for pk in newest if pk is not None), default=0)
    return list(rows.filter(pk__lte=last)[:limit])


class _Walk(NamedTuple):
    """The keys that are filtered while the database pages by age, and the filter."""

    keys: QuerySet[Any]
    pieces: Sequence[Q]
    #: The number of conditions on the first page. A later page adds more.
    conditions: int

    def begins(self, query: Any) -> bool:
        """Return whether ``query`` is the first page, newest first, without another filter."""
        is_first = not query.low_mark and query.high_mark is not None
        by_age = tuple(query.order_by) in (("-pk",), ("-id",))
        return is_first and by_age and len(query.where.children) == self.conditions


def in_state(keys: QuerySet[Any], *states: State) -> QuerySet[Any]:
    """Return the ``keys`` that are in one of ``states`` now. One or two short queries a state."""
    now = timezone.now()
    # Active and paused keys together need no look at the pause.
    both = {State.LIVE, State.PAUSED} <= set(states)
    sought = [state for state in states if not (both and state is State.PAUSED)]
    pieces = [piece for state in sought for piece in _pieces(state, now, also_paused=both)]
    judged = Q()
    for state in sought:
        judged |= _judged(state, now, also_paused=both)
    return _either(keys, pieces, judged)


def expiring(
    keys: QuerySet[Any], after: datetime | None = None, until: datetime | None = None
) -> QuerySet[Any]:
    """Return the ``keys`` that expire later than ``after`` and no later than ``until``.

    One short query.
    """
    piece, judged = Q(expires_at__isnull=False), Q(LessThan(_expires_at(), moments.never()))
    if after is not None:
        piece, judged = Q(expires_at__gt=after), judged & Q(GreaterThan(_expires_at(), after))
    if until is not None:
        piece &= Q(expires_at__lte=until)
        judged &= Q(LessThanOrEqual(_expires_at(), until))
    return _either(keys, [piece], judged)


def lasting(keys: QuerySet[Any]) -> QuerySet[Any]:
    """Return the ``keys`` that never expire. One short query."""
    return _either(
        keys, [Q(expires_at=None)], Q(GreaterThanOrEqual(_expires_at(), moments.never()))
    )


def used(keys: QuerySet[Any], since: datetime) -> QuerySet[Any]:
    """Return the ``keys`` whose last use is at or after ``since``. One short query."""
    piece = Q(last_used_on__gte=since.date(), last_used_at__gte=since)
    return _either(keys, [piece], Q(GreaterThanOrEqual(_used_at(), since)))


def idle(keys: QuerySet[Any], since: datetime) -> QuerySet[Any]:
    """Return the ``keys`` created before ``since`` and not used since. One or two short queries."""
    before = Q(created_at__lt=since)  # a newer key has not been idle for that long
    pieces = [
        before & Q(last_used_on=None, last_used_at=None),
        before & Q(last_used_on__lte=since.date(), last_used_at__lt=since),
    ]
    return _either(keys, pieces, before & Q(LessThan(_used_at(), since)))


def unused(keys: QuerySet[Any]) -> QuerySet[Any]:
    """Return the ``keys`` that were never used. One short query."""
    piece = Q(last_used_on=None, last_used_at=None)
    return _either(keys, [piece], Q(LessThanOrEqual(_used_at(), moments.long_ago())))


def are_uses_recorded(since: datetime) -> bool:
    """Return whether a key without a use since ``since`` is unused.

    If nothing writes the last use, all keys look unused.
    """
    if app_settings.LAST_USED_INTERVAL is not None:
        return True
    # The site may call ``usage.flush`` itself.
    models = KEY_MODELS.values()
    return any(model._default_manager.filter(last_used_at__gte=since).exists() for model in models)


def rejected(keys: QuerySet[Any]) -> QuerySet[Any]:
    """Return the ``keys`` that were rejected. One short query."""
    return matching(keys, [rejected_since(moments.long_ago())])


def rejected_since(moment: datetime) -> Q:
    """Return the condition of keys that were rejected after ``moment``."""
    # A rejected key stays pending, and the index has that column.
    return Q(revoked_at__gt=moment, is_pending__in=[True], is_rejected=True)


def unreplaced(keys: QuerySet[Any]) -> QuerySet[Any]:
    """Return the ``keys`` that no other key replaced, by a rotation or after their end."""
    successors = keys.model._default_manager.filter(replaces=OuterRef("pk")).order_by()
    return keys.filter(~Exists(successors), rotated_at=None)


def matching(rows: QuerySet[Any], pieces: Sequence[Q]) -> QuerySet[Any]:
    """Return the ``rows`` that match one of ``pieces``. Each piece needs an index.

    One short query for each piece.
    """
    hidden: dict[str, Any] = {}
    judged = Q()
    for piece in pieces:
        judged |= _hiding(piece, rows.model, hidden)
    return _either(rows.alias(**hidden), pieces, judged)


#: The orders of lists of keys: an expression that is never null, and whether its largest value
#: comes first. Ties are broken by the primary key, in the same direction.
ORDERS: Final[dict[str, tuple[Callable[[], Any], bool]]] = {
    "name": (lambda: Lower("name"), False),
    "expires": (_expires_at, False),
    "ended": (_ended_at, True),
    "used": (_used_at, True),
    "idle": (_used_at, False),
}


def known(rows: QuerySet[Any]) -> int | None:
    """Return the number of ``rows`` if a function of this module has counted them, else ``None``.

    A number above ``FEW`` is a lower bound.
    """
    query: Any = rows.query
    conditions, number = getattr(query, "_found", (None, None))
    return number if conditions == len(query.where.children) else None


def _hiding(piece: Q, model: Any, hidden: dict[str, Any]) -> Q:
    """Return ``piece`` in a form that cannot use an index.

    Add the expressions to ``hidden``, by name. The caller passes them to ``alias()``.
    """
    conditions: list[Any] = []
    children: list[Any] = piece.children
    for each in children:
        if isinstance(each, Q):
            conditions.append(_hiding(each, model, hidden))
            continue
        lookup, value = each
        name, _, how = lookup.partition("__")
        if name != "pk":
            field = model._meta.get_field(name)
            field = getattr(field, "target_field", field)
            hidden[f"any_{name}"] = Coalesce(name, name, output_field=field)
            lookup = f"any_{name}__{how or 'exact'}"
        conditions.append((lookup, value))
    return Q(*conditions, _connector=piece.connector, _negated=piece.negated)


def _either(keys: QuerySet[Any], pieces: Iterable[Q], judged: Q) -> QuerySet[Any]:
    """Return the ``keys`` that match one of ``pieces``. Each piece needs an index.

    ``judged`` is the same condition without an index. A few matches are listed by primary key
    and sorted. Many matches are filtered by ``judged`` while the database pages by age. A
    database that chose by itself might read all keys for a few, or sort all for one page.
    """
    pks: set[Any] = set()
    pieces = list(pieces)
    for piece in pieces:
        # A row may match two pieces, so fetch the full number from each.
        pks.update(keys.order_by().filter(piece).values_list("pk", flat=True)[: FEW + 1])
        if len(pks) > FEW:
            break
    found = keys.filter(judged) if len(pks) > FEW else keys.filter(pk__in=pks)
    # Django has no public API to set the iterable class of a queryset or to attach a value.
    # Querysets derived from this one copy both attributes.
    if len(pks) > FEW:
        vars(found)["_iterable_class"] = _KeysFirst
        conditions = len(found.query.where.children)
        vars(found.query)["_walk"] = _Walk(keys, pieces, conditions)
    # ``known`` ignores it once another filter is added.
    vars(found.query)["_found"] = len(found.query.where.children), len(pks)
    return found


def _pieces(state: State, now: datetime, *, also_paused: bool = False) -> Iterator[Q]:
    """Yield the conditions of ``state``; ``also_paused`` adds paused keys to ``LIVE``.

    Each is one range of an index that begins with the owner or with ``revoked_at``.
    """
    if state is State.REVOKED:
        yield Q(revoked_at__gt=moments.long_ago())  # SQLite uses no index for IS NOT NULL
        return
    if state is State.EXPIRED:
        for pending in (False, True):
            yield Q(revoked_at=None, is_pending__in=[pending], expires_at__lte=now)
        return
    if state is State.PAUSED:
        # The other conditions use no index, so that the database takes that of the few pauses.
        yield Q(paused_at__gt=moments.long_ago()) & _judged(state, now)
        return
    # SQLite also uses no index for a bare boolean, so the condition is a list of one value.
    unrevoked = Q(revoked_at=None, is_pending__in=[state is State.PENDING])
    if state is State.LIVE and not also_paused:
        unrevoked &= Q(paused_at=None)
    yield unrevoked & Q(expires_at=None)
    yield unrevoked & Q(expires_at__gt=now)


def _judged(state: State, now: datetime, *, also_paused: bool = False) -> Q:
    if state is State.REVOKED:
        return Q(LessThan(_revoked_at(), moments.never()))
    # PostgreSQL expects few rows of an equality, and then reads the whole table.
    unrevoked = Q(GreaterThanOrEqual(_revoked_at(), moments.never()))
    if state is State.EXPIRED:
        return unrevoked & Q(LessThanOrEqual(_expires_at(), now))
    unended = unrevoked & Q(GreaterThan(_expires_at(), now))
    unended &= Q(is_pending=state is State.PENDING)
    if state is State.PAUSED:
        return unended & Q(LessThan(_paused_at(), moments.never()))
    if state is State.LIVE and not also_paused:
        return unended & Q(GreaterThanOrEqual(_paused_at(), moments.never()))
    return unended
