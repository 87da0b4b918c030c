"""Some of many rows, quickly: however few of a million they are, or however many."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.db.models.lookups import (
    Exact,
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
)
from django.db.models.query import ModelIterable
from django.utils import timezone

from .models import State

FEW: Final = 5000
_LONG_AGO: Final = datetime(1970, 1, 2, tzinfo=UTC)
_NEVER: Final = datetime(9999, 12, 30, tzinfo=UTC)
# For a walk by age: no index has them, so that no database sorts all keys for a page.
_REVOKED_AT: Final = Coalesce("revoked_at", Value(_NEVER))
_EXPIRES_AT: Final = Coalesce("expires_at", Value(_NEVER))
_USED_AT: Final = Coalesce("last_used_at", Value(_LONG_AGO))


class _KeysFirst(ModelIterable):  # type: ignore[type-arg]
    """Of a page, asks an index for the primary keys, and the table for no row beside them."""

    def __iter__(self) -> Iterator[Any]:
        page: Any = self.queryset
        if page.query.is_sliced:
            pks = list(page.values_list("pk", flat=True))
            page = page.all()
            page.query.clear_limits()
            self.queryset = page.filter(pk__in=pks)
        return super().__iter__()


def in_state(keys: QuerySet[Any], *states: State) -> QuerySet[Any]:
    """Those of ``keys`` that are in one of ``states`` now. A short query or two a state."""
    now = timezone.now()
    pieces = [piece for state in states for piece in _pieces(state, now)]
    judged = Q()
    for state in states:
        judged |= _judged(state, now)
    return _either(keys, pieces, judged)


def expiring(
    keys: QuerySet[Any], after: datetime | None = None, until: datetime | None = None
) -> QuerySet[Any]:
    """Those of ``keys`` that expire in this time. A short query."""
    piece, judged = Q(expires_at__isnull=False), Q(LessThan(_EXPIRES_AT, _NEVER))
    if after is not None:
        piece, judged = Q(expires_at__gt=after), judged & Q(GreaterThan(_EXPIRES_AT, after))
    if until is not None:
        piece &= Q(expires_at__lte=until)
        judged &= Q(LessThanOrEqual(_EXPIRES_AT, until))
    return _either(keys, [piece], judged)


def lasting(keys: QuerySet[Any]) -> QuerySet[Any]:
    """Those of ``keys`` that never expire. A short query."""
    return _either(keys, [Q(expires_at=None)], Q(Exact(_EXPIRES_AT, _NEVER)))


def used(keys: QuerySet[Any], since: datetime) -> QuerySet[Any]:
    """Those of ``keys`` that were used since then. A short query."""
    piece = Q(last_used_on__gte=since.date(), last_used_at__gte=since)
    return _either(keys, [piece], Q(GreaterThanOrEqual(_USED_AT, since)))


def idle(keys: QuerySet[Any], since: datetime) -> QuerySet[Any]:
    """Those of ``keys`` that were made before then, and not used since. A short query or two."""
    before = Q(created_at__lt=since)  # one made since has had no such time to be used in
    pieces = [
        before & Q(last_used_on=None, last_used_at=None),
        before & Q(last_used_on__lte=since.date(), last_used_at__lt=since),
    ]
    return _either(keys, pieces, before & Q(LessThan(_USED_AT, since)))


def unused(keys: QuerySet[Any]) -> QuerySet[Any]:
    """Those of ``keys`` that were never used. A short query."""
    piece = Q(last_used_on=None, last_used_at=None)
    return _either(keys, [piece], Q(LessThanOrEqual(_USED_AT, _LONG_AGO)))


def matching(rows: QuerySet[Any], pieces: Sequence[Q]) -> QuerySet[Any]:
    """Those of ``rows`` that meet one of ``pieces``, each of which has an index. A short query
    each.
    """
    hidden: dict[str, Any] = {}
    judged = Q()
    for piece in pieces:
        judged |= _hiding(piece, rows.model, hidden)
    return _either(rows.alias(**hidden), pieces, judged)


def known(rows: QuerySet[Any]) -> int | None:
    """How many ``rows`` there are, where a function of this module has just counted them.

    More than ``FEW`` means at least so many.
    """
    query: Any = rows.query
    asked, number = getattr(query, "_found", (None, None))
    return number if asked == len(query.where.children) else None


def _hiding(piece: Q, model: Any, hidden: dict[str, Any]) -> Q:
    """``piece`` said so that no index serves it; what ``hidden`` names is to be an alias."""
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
    """``keys`` in one of ``pieces``, each of which has an index; ``judged`` says the same.

    Few are sorted once they are found; of many, a walk by age soon fills a page. A database
    that has to guess may walk past all keys for few, or sort all for a page.
    """
    pks: set[Any] = set()
    for piece in pieces:
        # A row may meet two pieces, so each is asked for that many.
        pks.update(keys.order_by().filter(piece).values_list("pk", flat=True)[: FEW + 1])
        if len(pks) > FEW:
            break
    found = keys.filter(judged) if len(pks) > FEW else keys.filter(pk__in=pks)
    if len(pks) > FEW:
        vars(found)["_iterable_class"] = _KeysFirst
    # As long as nothing else is asked of them.
    vars(found.query)["_found"] = len(found.query.where.children), len(pks)
    return found


def _pieces(state: State, now: datetime) -> Iterator[Q]:
    """What makes up ``state``, each one range of an index that begins with the owner, or with
    ``revoked_at``."""
    if state is State.REVOKED:
        yield Q(revoked_at__gt=_LONG_AGO)  # SQLite has no index for "not null"
        return
    if state is State.EXPIRED:
        for pending in (False, True):
            yield Q(revoked_at=None, is_pending__in=[pending], expires_at__lte=now)
        return
    # Nor has it one for a boolean by itself.
    unrevoked = Q(revoked_at=None, is_pending__in=[state is State.PENDING])
    yield unrevoked & Q(expires_at=None)
    yield unrevoked & Q(expires_at__gt=now)


def _judged(state: State, now: datetime) -> Q:
    if state is State.REVOKED:
        return Q(LessThan(_REVOKED_AT, _NEVER))
    unrevoked = Q(Exact(_REVOKED_AT, _NEVER))
    if state is State.EXPIRED:
        return unrevoked & Q(LessThanOrEqual(_EXPIRES_AT, now))
    unended = unrevoked & Q(GreaterThan(_EXPIRES_AT, now))
    return unended & Q(is_pending=state is State.PENDING)
