"""The audit log: writes an ``AuditEvent`` for each change of a key, in the same transaction.

``apikeys.oauth.events`` writes the events about OAuth clients.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple

from django.db import IntegrityError, router
from django.db.models import QuerySet
from django.db.models.signals import post_delete, pre_delete
from django.dispatch import Signal

from . import moments, spreadsheets
from .access import Access
from .conf import slug_of
from .databases import deletions, transactions
from .keys.facts import FACTS as FACTS_OF_KEYS
from .keys.facts import KINDS, Fact
from .limits import networks
from .models import KEY_MODELS, AnyKey, AuditEvent
from .redaction import redact_value
from .signals import (
    key_approved,
    key_edited,
    key_expired,
    key_first_used,
    key_minted,
    key_paused,
    key_refused_by_network,
    key_resumed,
    key_revoked,
    key_rotated,
    key_used_after_end,
    key_used_from_new_network,
)

Event = AuditEvent.Event

_BATCH: Final = 900  # rows in one statement

#: The name of a kind of key in JSON, by the name that an event stores.
_KINDS: Final = {model._meta.model_name: kind for kind, model in KINDS.items()}


def _or_none(name: str) -> Callable[[Any], Any]:
    return lambda event: getattr(event, name) or None


#: The facts of an event, in the order that JSON and exports have them.
FACTS: Final = (
    Fact("id", int, attrgetter("pk"), example=42),
    Fact("at", datetime, attrgetter("at"), example="2030-01-01T12:00:00+00:00"),
    Fact("event", Event, attrgetter("event"), example="revoked"),
    Fact("kind", str, lambda event: _KINDS.get(event.kind, event.kind), example=next(iter(KINDS))),
    Fact(
        "key",
        str,
        attrgetter("public_id"),
        about="The ID of the key. For an OAuth client, an ID derived from its client ID.",
        example="7k2m4q0x9c1v8b3n",
    ),
    Fact("name", str, attrgetter("name"), example="laptop"),
    Fact(
        "owner",
        str,
        attrgetter("owner"),
        about="A username, or the slug of a project. Empty for a client of the site itself.",
        example="ada",
    ),
    Fact("by", str, _or_none("by"), optional=True, example="ada"),
    Fact(
        "using",
        str,
        _or_none("using"),
        optional=True,
        about="The ID of the credential that sent the request.",
    ),
    Fact(
        "instance",
        str,
        _or_none("instance"),
        optional=True,
        about="The name of the key that signed the request.",
    ),
    Fact(
        "authorized_by",
        str,
        _or_none("authorized_by"),
        optional=True,
        about="The user who approved the key that signed the request, or else created it.",
    ),
    Fact("ip", str, attrgetter("ip"), optional=True, example="203.0.113.7"),
    Fact("changes", dict, attrgetter("changes"), example={"reason": "Lost."}),
)
#: The facts of an event as it is exported, in this order.
FIELDS: Final = tuple(fact.name for fact in FACTS)
#: The facts that are columns of the lists of events.
COLUMNS: Final = ("at", "event", "key", "name", "owner", "by", "using", "ip")


class Batch:
    """The events that one block of ``together`` saves at its end."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        #: The mails that ``apikeys.mail`` sends about them.
        self.notices: list[Any] = []


_batch: ContextVar[Batch | None] = ContextVar("apikeys_batch", default=None)


_mark: ContextVar[dict[str, Any]] = ContextVar("apikeys_mark", default={})  # noqa: B039


@contextmanager
def marked(name: str, value: Any) -> Iterator[None]:
    """Add ``name`` to the ``changes`` of the edits in this block, to tell them from others."""
    before = _mark.set({name: value})
    try:
        yield
    finally:
        _mark.reset(before)


def batch() -> Batch | None:
    """Return the batch of the innermost block of ``together``; ``None`` outside of any."""
    return _batch.get()


def write(event: str, key: AnyKey, **facts: Any) -> AuditEvent:
    """Save an event and return it. ``facts`` are the arguments of ``compose_about``."""
    return save(compose(event, key, **facts))


def save(row: AuditEvent) -> AuditEvent:
    """Save an event, or add it to the batch of the block ``together``."""
    if (open_batch := _batch.get()) is None:
        row.save()
    else:
        open_batch.events.append(row)
    return row


@contextmanager
def together() -> Iterator[None]:
    """Collect the events of this block, and save them in batches when it ends."""
    collected = Batch()
    before = _batch.set(collected)
    try:
        yield
    finally:
        _batch.reset(before)
    AuditEvent.objects.bulk_create(collected.events, batch_size=_BATCH)


class About(NamedTuple):
    """The subject of an event: a key or an OAuth client."""

    #: The name of a key's model, or ``models.audit.CLIENT``.
    kind: str
    public_id: str
    name: str
    #: A user or a project; ``None`` for a client of the site itself.
    owner: Any


def compose(event: str, key: AnyKey, **facts: Any) -> AuditEvent:
    """Return an unsaved event about ``key``. ``facts`` are the arguments of ``compose_about``."""
    about = About(key._meta.model_name or "", key.public_id, key.name, key.owner)
    return compose_about(event, about, **facts)


def compose_about(
    event: str,
    about: About,
    *,
    by: Any = None,
    using: Access | None = None,
    ip: str | None = None,
    at: datetime | None = None,
    changes: dict[str, Any] | None = None,
    once: str | None = None,
) -> AuditEvent:
    """Return an unsaved event. Redact every secret in ``changes``, a dict of plain values."""
    owner = about.owner
    row = AuditEvent(
        event=event,
        kind=about.kind,
        public_id=about.public_id,
        name=redact_value(about.name),
        owner=_name_of(owner) if owner is not None else "",
        owner_pk=str(owner.pk) if owner is not None else "",
        by=_name_of(by) if by is not None else "",
        by_pk=str(by.pk) if by is not None else "",
        using=str(using.credential_id)[:255] if using is not None else "",
        instance=redact_value(using.name) if using is not None and using.signed else "",
        authorized_by=_name_of(using.authorized_by) if using and using.authorized_by else "",
        ip=ip,
        changes=redact_value(changes or {}),
        once=once,
    )
    if at is not None:
        row.at = at
    return row


def write_once(found: Sequence[tuple[AnyKey, AuditEvent]]) -> list[tuple[AnyKey, AuditEvent]]:
    """Save the events that are not in the log yet, send their signals, and return them.

    ``found`` holds events that the app detects, such as an expiry. Rows are saved in bulk.
    They are saved one by one only if another process saves the same event at the same time.
    """
    alias = router.db_for_write(AuditEvent)
    try:
        with transactions.atomic(AuditEvent):
            AuditEvent.objects.bulk_create([row for _key, row in found], batch_size=_BATCH)
        written = list(found)
    except IntegrityError:
        written = [each for each in found if _write_if_new(each[1], alias)]
    for key, row in written:
        facts = {"at": row.at, "ip": row.ip} | row.changes
        FOUND[Event(row.event)].send_robust(type(key), key=key, by=None, using=None, **facts)
    return written


def _write_if_new(row: AuditEvent, alias: str) -> bool:
    row.pk, row._state.adding = None, True  # undo what a failed bulk_create may have set
    try:
        with transactions.atomic(AuditEvent):
            row.save()
    except IntegrityError:
        if AuditEvent.objects.using(alias).filter(once=row.once).exists():
            return False
        raise
    return True


def _name_of(who: Any) -> str:
    name = who.get_username() if hasattr(who, "get_username") else slug_of(who)
    return str(name)[:255]


def _facts(key: AnyKey) -> dict[str, Any]:
    facts = {fact.name: fact.json(key) for fact in FACTS_OF_KEYS if fact.audited(key)}
    return facts | {"awaits_approval": key.is_pending}


def _minted(key: AnyKey, by: Any, using: Access | None, **kwargs: Any) -> None:
    facts = {"replaces": key.replaces.public_id} if key.replaces else {}
    facts |= _facts(key)
    write(Event.MINTED, key, by=by, using=using, ip=networks.current_ip(), changes=facts)


def _edited(
    key: AnyKey, by: Any, using: Access | None, changes: dict[str, tuple[Any, Any]], **kwargs: Any
) -> None:
    diff = {field: {"before": before, "after": after} for field, (before, after) in changes.items()}
    ip = networks.current_ip()
    write(Event.EDITED, key, by=by, using=using, ip=ip, changes=diff | _mark.get())


def _approved(key: AnyKey, by: Any, using: Access | None, **kwargs: Any) -> None:
    write(Event.APPROVED, key, by=by, using=using, ip=networks.current_ip())


def _rotated(key: AnyKey, by: Any, using: Access | None, successor: AnyKey, **kwargs: Any) -> None:
    ip = networks.current_ip()
    ends = moments.iso(key.expires_at) if key.expires_at else None
    changes: dict[str, Any] = {"successor": successor.public_id, "expires_at": ends}
    if using is not None and using.revoked_with == key.public_id:
        changes["by_itself"] = True
    write(Event.ROTATED, key, by=by, using=using, ip=ip, changes=changes)
    facts = {"replaces": key.public_id} | _facts(successor)
    write(Event.MINTED, successor, by=by, using=using, ip=ip, changes=facts)


def _revoked(key: AnyKey, by: Any, using: Access | None, **kwargs: Any) -> None:
    changes: dict[str, Any] = {"reason": key.revoked_reason} if key.revoked_reason else {}
    if key.is_rejected:
        changes["rejected"] = True
    ip = networks.current_ip()
    write(Event.REVOKED, key, by=by, using=using, ip=ip, changes=changes)


def _paused(key: AnyKey, by: Any, using: Access | None, **kwargs: Any) -> None:
    changes: dict[str, Any] = {"reason": key.paused_reason} if key.paused_reason else {}
    if key.is_held:
        changes["held"] = True
    write(Event.PAUSED, key, by=by, using=using, ip=networks.current_ip(), changes=changes)


def _resumed(key: AnyKey, by: Any, using: Access | None, **kwargs: Any) -> None:
    write(Event.RESUMED, key, by=by, using=using, ip=networks.current_ip())


class _Deleted:
    """The keys that one ``delete()`` deletes: their owners, and their events to be written."""

    def __init__(self) -> None:
        self.owners: dict[Any, dict[Any, Any]] = {}
        self.events: dict[Any, AuditEvent] = {}


def _deleting(sender: Any, instance: AnyKey, origin: Any = None, **kwargs: Any) -> None:
    ip = networks.current_ip()
    if origin is None:
        write(Event.DELETED, instance, ip=ip)
        return
    row = sender, instance.pk
    deleted: _Deleted | None = origin.__dict__.get("_apikeys_deleted")
    if deleted is None or row in deleted.events:  # the first attempt was rolled back
        deleted = origin.__dict__["_apikeys_deleted"] = _Deleted()
    field: Any = sender._meta.get_field(sender.OWNER)
    if sender not in deleted.owners:
        rows = deletions.together(instance, origin)
        # Not with the manager of the owner's model: it may hide the owner.
        owners: Any = QuerySet(field.related_model, using=rows.db)
        deleted.owners[sender] = owners.filter(pk__in=rows.values(field.attname)).in_bulk()
    if (owner := deleted.owners[sender].get(getattr(instance, field.attname))) is not None:
        field.set_cached_value(instance, owner)
    deleted.events[row] = compose(Event.DELETED, instance, ip=ip)


def _deleted(sender: Any, origin: Any = None, **kwargs: Any) -> None:
    """Write the events of all deleted keys. Django sends every ``pre_delete`` before this."""
    deleted = None if origin is None else origin.__dict__.pop("_apikeys_deleted", None)
    if deleted is not None:
        AuditEvent.objects.bulk_create([*deleted.events.values()], batch_size=_BATCH)


#: The signal to send for each event that ``write_once`` saves.
FOUND: Final[dict[Event, Signal]] = {
    Event.EXPIRED: key_expired,
    Event.FIRST_USED: key_first_used,
    Event.NEW_NETWORK: key_used_from_new_network,
    Event.REFUSED_NETWORK: key_refused_by_network,
    Event.USED_AFTER_END: key_used_after_end,
}


def connect() -> None:
    """Connect the audit log to the signals of keys. ``AppConfig.ready()`` calls this once."""
    for signal, receiver in (
        (key_minted, _minted),
        (key_edited, _edited),
        (key_approved, _approved),
        (key_rotated, _rotated),
        (key_revoked, _revoked),
        (key_paused, _paused),
        (key_resumed, _resumed),
    ):
        signal.connect(receiver, dispatch_uid="apikeys.audit")
    for model in KEY_MODELS.values():
        pre_delete.connect(_deleting, sender=model, dispatch_uid="apikeys.audit")
        post_delete.connect(_deleted, sender=model, dispatch_uid="apikeys.audit")


def record(event: AuditEvent) -> dict[str, Any]:
    """Return the facts of ``event``, ready for JSON."""
    return {fact.name: fact.json(event) for fact in FACTS}


def as_jsonl(events: Iterable[AuditEvent]) -> Iterator[str]:
    """Yield each event as one line of JSON."""
    for event in events:
        yield json.dumps(record(event)) + "\n"


def as_csv(events: Iterable[AuditEvent]) -> Iterator[str]:
    """Yield a header and each event as CSV. Escape cells that look like formulas."""
    return spreadsheets.lines(
        FIELDS,
        (
            record(event) | {"changes": json.dumps(event.changes, sort_keys=True)}
            for event in events
        ),
    )


#: The export formats by name: a function that yields lines, and the media type.
FORMATS: Final = {
    "csv": (as_csv, "text/csv; charset=utf-8"),
    "jsonl": (as_jsonl, "application/jsonl; charset=utf-8"),
}
