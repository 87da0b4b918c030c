"""Delete what a site does not want to keep for ever: old audit events, and keys that ended.

This is the only code that deletes audit events.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db import router
from django.db.models import Exists, Max, OuterRef, Q, QuerySet

from . import audit, token
from .audit import Event
from .databases import transactions
from .databases.primary import reading_primary
from .models import KEY_MODELS, AuditEvent
from .models.audit import SITE
from .models.chains import rotated_into
from .models.reach import EndedUse, ScopeUse

#: Settings and the command refuse to keep less.
SHORTEST: Final = timedelta(days=30)
#: The command deletes nothing younger, even with ``--force``. The log says who was warned, 14 days
#: before a key ends unused, and which keys rotated themselves, which a leak report ends.
LEAST: Final = timedelta(days=15)

_EVENTS: Final = 5000  # events in one transaction
_KEYS: Final = 200  # keys in one transaction
_CHUNK: Final = 5000  # values in one statement


@reading_primary()
def old_events(until: datetime) -> int:
    """Return the number of audit events before ``until``."""
    return _old_events(until).count()


@reading_primary()
def prune_events(until: datetime, *, by: Any = None) -> int:
    """Delete the audit events before ``until``. Return how many.

    First write an event that says who deletes how many. It remains if the run is interrupted.
    Such events are never deleted.
    """
    rows = _old_events(until)
    number, last = rows.count(), rows.aggregate(last=Max("pk"))["last"]
    if not number:
        return 0
    with transactions.atomic(AuditEvent):
        _record("events", until, number, by)
    rows = rows.filter(pk__lte=last)  # and none that is written meanwhile
    deleted = 0
    while pks := list(rows.order_by("at").values_list("pk", flat=True)[:_EVENTS]):
        with transactions.atomic(AuditEvent):
            deleted += rows.filter(pk__in=pks).delete()[0]
    return deleted


def _old_events(until: datetime) -> QuerySet[AuditEvent]:
    # Not with the manager of the model, which refuses to delete.
    rows: QuerySet[AuditEvent] = QuerySet(AuditEvent, using=router.db_for_write(AuditEvent))
    return rows.filter(at__lt=until).exclude(event=Event.PRUNED).order_by()


def _record(what: str, until: datetime, number: int, by: Any) -> None:
    about = audit.About(SITE, "", "", None)
    changes = {"pruned": what, "until": until.isoformat(), "number": number}
    audit.save(audit.compose_about(Event.PRUNED, about, by=by, changes=changes))


class _Link(NamedTuple):
    """A key that ended, and the keys that it came from."""

    public_id: str
    #: The primary key of its predecessor, unless it replaced that key without a rotation.
    replaces: Any
    minted_with: str
    made_with_token: str

    @property
    def parents(self) -> tuple[str, str]:
        """The credentials whose end revokes the key."""
        return self.minted_with, self.made_with_token


_FIELDS: Final = ("public_id", rotated_into("replaces_id"), "minted_with", "made_with_token")


@reading_primary()
def ended_keys(until: datetime) -> int:
    """Return the number of keys that ``prune_keys`` would delete."""
    needed = _needed(until)
    return sum(_ended(model, until).count() - len(needed[model]) for model in KEY_MODELS.values())


@reading_primary()
def prune_keys(until: datetime, *, by: Any = None) -> int:
    """Delete the keys that were revoked before ``until``, or expired before then. Return how many.

    Their audit events remain. So do keys that a later revocation needs:

    * A key with which an existing key was created. If one of its ancestors is revoked, the chain
      leads to that key.
    * A key whose predecessor remains, because the chain leads through it.
    * A predecessor that was created with another credential than a successor.
    * A key with a public key, so that its project cannot use the key pair again.
    """
    needed = _needed(until)
    deleted = 0
    try:
        for model in KEY_MODELS.values():
            for pks in _batches(_ended(model, until), needed[model]):
                with transactions.atomic(model):
                    rows = _rows(model).filter(pk__in=pks)
                    found = dict(rows.select_for_update().values_list("pk", "public_id"))
                    _delete_uses(model, list(found.values()))
                    rows.filter(pk__in=list(found)).delete()
                deleted += len(found)
    finally:
        if deleted:
            with transactions.atomic(AuditEvent):
                _record("keys", until, deleted, by)
    return deleted


def _delete_uses(model: Any, ids: list[str]) -> None:
    """Delete what names the keys by their IDs. Decisions about them in projects remain."""
    kinds = [token.KIND_NAMES[model.KIND], model._meta.model_name]
    _rows(ScopeUse).filter(kind__in=kinds, credential__in=ids).delete()
    _rows(EndedUse).filter(kind__in=kinds, public_id__in=ids).delete()


def _rows(model: Any) -> QuerySet[Any]:
    # Not with a manager that hides rows.
    return QuerySet(model, using=router.db_for_write(model))


def _past(model: Any, until: datetime) -> Q:
    past = Q(revoked_at__lt=until) | Q(revoked_at=None, expires_at__lt=until)
    return past & Q(public_key="") if model.TAKES_PUBLIC_KEY else past


def _ended(model: Any, until: datetime) -> QuerySet[Any]:
    return _rows(model).filter(_past(model, until)).order_by("pk")


def _batches(rows: QuerySet[Any], without: set[Any]) -> Iterator[list[Any]]:
    last = 0
    while pks := list(rows.filter(pk__gt=last).values_list("pk", flat=True)[:_KEYS]):
        last = pks[-1]
        yield [pk for pk in pks if pk not in without]


def _needed(until: datetime) -> dict[Any, set[Any]]:
    """Return the primary keys of the keys that ended before ``until`` and must remain.

    A key that ended gets no further successor and creates no key, so the result stays true.
    """
    links = {model: _links(model, until) for model in KEY_MODELS.values()}
    by_id = {link.public_id: (model, pk) for model in links for pk, link in links[model].items()}
    newer = {(model, link.replaces): pk for model in links for pk, link in links[model].items()}
    ahead = [by_id[public_id] for public_id in _makers(by_id, until)]
    for model, of_model in links.items():
        ahead += [(model, pk) for pk in _before_others(model, of_model, until)]
        ahead += [
            (model, pk)
            for pk, link in of_model.items()
            if link.replaces is not None and link.replaces not in of_model
        ]
    needed: dict[Any, set[Any]] = {model: set() for model in links}
    while ahead:
        model, pk = ahead.pop()
        if pk in needed[model]:
            continue
        needed[model].add(pk)
        link = links[model][pk]
        if link.minted_with in by_id:
            ahead.append(by_id[link.minted_with])
        if (model, pk) in newer:
            ahead.append((model, newer[model, pk]))
        older = _older(links[model], link.replaces, link.parents, needed[model])
        if older is not None:
            ahead.append((model, older))
    return needed


def _links(model: Any, until: datetime) -> dict[Any, _Link]:
    """Return the keys that ended before ``until`` and are linked with another, by primary key."""
    linked = Q(replaces__isnull=False) | ~Q(minted_with="")
    linked |= Q(Exists(_rows(model).filter(replaces=OuterRef("pk"))))
    for other in KEY_MODELS.values():
        linked |= Q(Exists(_rows(other).filter(minted_with=OuterRef("public_id"))))
    found = _ended(model, until).filter(linked).values_list("pk", *_FIELDS)
    return {pk: _Link(*values) for pk, *values in found.iterator(_CHUNK)}


def _makers(ids: Iterable[str], until: datetime) -> Iterator[str]:
    """Yield the ``ids`` of keys that created a key which remains in any case."""
    for chunk in _chunks(ids):
        for model in KEY_MODELS.values():
            made = _rows(model).filter(minted_with__in=chunk).exclude(_past(model, until))
            yield from made.values_list("minted_with", flat=True).distinct()


def _before_others(model: Any, links: dict[Any, _Link], until: datetime) -> Iterator[Any]:
    """Yield the keys with other parents than a successor that remains in any case."""
    for chunk in _chunks(links):
        rotated = {"replaces__in": chunk, "replaces__rotated_at__isnull": False}
        newer = _rows(model).filter(**rotated).exclude(_past(model, until))
        for pk, *parents in newer.values_list("replaces_id", "minted_with", "made_with_token"):
            if (older := _older(links, pk, tuple(parents), ())) is not None:
                yield older


def _older(
    links: dict[Any, _Link], pk: Any, parents: tuple[str, ...], known: Collection[Any]
) -> Any:
    """Return the nearest key, from ``pk`` back, whose parents lead to a successor only through it.

    The successor has ``parents``. Stop at a ``known`` key, and return ``None`` if none was found.
    """
    while pk not in known and (link := links.get(pk)) is not None:
        if any(link.parents) and link.parents != parents:
            return pk
        pk = link.replaces
    return None


def _chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    listed = list(values)
    for start in range(0, len(listed), _CHUNK):
        yield listed[start : start + _CHUNK]
