"""The audit log: an ``AuditEvent`` for all that happens to a key, in the same transaction."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, router, transaction
from django.db.models.signals import pre_delete
from django.dispatch import Signal

from . import networks
from .access import Access
from .models import KEY_MODELS, AuditEvent, PersonalAccessToken, ProjectKey
from .redaction import redact_value
from .signals import (
    key_approved,
    key_edited,
    key_expired,
    key_first_used,
    key_minted,
    key_refused_by_network,
    key_revoked,
    key_rotated,
    key_used_from_new_network,
)

AnyKey = PersonalAccessToken | ProjectKey
Event = AuditEvent.Event

#: The fields of an event as it is exported, in this order.
FIELDS: Final = (
    "id", "at", "event", "kind", "key", "name", "owner", "by", "using", "instance",
    "authorized_by", "ip", "changes",
)  # fmt: skip

_BATCH: Final = 900  # rows in one statement

_KINDS: Final = {
    PersonalAccessToken._meta.model_name: "personal_access_token",
    ProjectKey._meta.model_name: "project_key",
}


def write(event: str, key: AnyKey, **facts: Any) -> AuditEvent:
    """Add an event; ``facts`` as for ``compose``."""
    row = compose(event, key, **facts)
    row.save()
    return row


def compose(
    event: str,
    key: AnyKey,
    *,
    by: Any = None,
    using: Access | None = None,
    ip: str | None = None,
    at: datetime | None = None,
    changes: dict[str, Any] | None = None,
    once: str | None = None,
) -> AuditEvent:
    """An event that is not written yet. A secret in ``changes``, plain values, is redacted."""
    owner = key.owner
    row = AuditEvent(
        event=event,
        kind=key._meta.model_name or "",
        public_id=key.public_id,
        name=redact_value(key.name),
        owner=_name_of(owner),
        owner_pk=str(owner.pk),
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
    """Tell of what was found rather than done; returns what nobody had told of before.

    A statement for many; one by one only where another process tells of the same just now.
    """
    alias = router.db_for_write(AuditEvent)
    try:
        with transaction.atomic(using=alias):
            AuditEvent.objects.bulk_create([row for _key, row in found], batch_size=_BATCH)
        written = list(found)
    except IntegrityError:
        written = [each for each in found if _write_if_new(each[1], alias)]
    for key, row in written:
        facts = {"at": row.at, "ip": row.ip} | row.changes
        FOUND[Event(row.event)].send(type(key), key=key, by=None, using=None, **facts)
    return written


def _write_if_new(row: AuditEvent, alias: str) -> bool:
    row.pk, row._state.adding = None, True  # as the failed try may have left it
    try:
        with transaction.atomic(using=alias):
            row.save()
    except IntegrityError:
        if AuditEvent.objects.using(alias).filter(once=row.once).exists():
            return False
        raise
    return True


def _name_of(who: Any) -> str:
    name = who.get_username() if hasattr(who, "get_username") else who.slug
    return str(name)[:255]


def _facts(key: AnyKey) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "scopes": list(key.scopes),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "allowed_networks": key.allowed_networks.split(),
        "rate_limits": key.rate_limits.split(),
        "awaits_approval": key.is_pending,
    }
    if isinstance(key, ProjectKey) and key.public_key:
        facts["public_key"] = key.public_key
    if isinstance(key, PersonalAccessToken):
        projects = None if key.all_projects else sorted(p.slug for p in key.projects.all())
        facts["projects"] = projects
    return facts


def _minted(key: AnyKey, by: Any, using: Access | None, **kwargs: Any) -> None:
    write(Event.MINTED, key, by=by, using=using, ip=networks.current_ip(), changes=_facts(key))


def _edited(
    key: AnyKey, by: Any, using: Access | None, changes: dict[str, tuple[Any, Any]], **kwargs: Any
) -> None:
    told = {field: {"before": before, "after": after} for field, (before, after) in changes.items()}
    write(Event.EDITED, key, by=by, using=using, ip=networks.current_ip(), changes=told)


def _approved(key: AnyKey, by: Any, using: Access | None, **kwargs: Any) -> None:
    write(Event.APPROVED, key, by=by, using=using, ip=networks.current_ip())


def _rotated(key: AnyKey, by: Any, using: Access | None, successor: AnyKey, **kwargs: Any) -> None:
    ip = networks.current_ip()
    ends = key.expires_at.isoformat() if key.expires_at else None
    changes = {"successor": successor.public_id, "expires_at": ends}
    write(Event.ROTATED, key, by=by, using=using, ip=ip, changes=changes)
    facts = {"replaces": key.public_id} | _facts(successor)
    write(Event.MINTED, successor, by=by, using=using, ip=ip, changes=facts)


def _revoked(key: AnyKey, by: Any, using: Access | None, **kwargs: Any) -> None:
    changes = {"reason": key.revoked_reason} if key.revoked_reason else None
    ip = networks.current_ip()
    write(Event.REVOKED, key, by=by, using=using, ip=ip, changes=changes)


def _deleted(instance: AnyKey, **kwargs: Any) -> None:
    write(Event.DELETED, instance, ip=networks.current_ip())


#: What says that a key was found in each of these states, by event.
FOUND: Final[dict[Event, Signal]] = {
    Event.EXPIRED: key_expired,
    Event.FIRST_USED: key_first_used,
    Event.NEW_NETWORK: key_used_from_new_network,
    Event.REFUSED_NETWORK: key_refused_by_network,
}


def connect() -> None:
    """Begin to listen; done once, when Django starts."""
    for signal, receiver in (
        (key_minted, _minted),
        (key_edited, _edited),
        (key_approved, _approved),
        (key_rotated, _rotated),
        (key_revoked, _revoked),
    ):
        signal.connect(receiver, dispatch_uid="apikeys.audit")
    for model in KEY_MODELS.values():
        pre_delete.connect(_deleted, sender=model, dispatch_uid="apikeys.audit")


def record(event: AuditEvent) -> dict[str, Any]:
    """An event, ready for JSON."""
    return {
        "id": event.pk,
        "at": event.at.isoformat(),
        "event": event.event,
        "kind": _KINDS.get(event.kind, event.kind),
        "key": event.public_id,
        "name": event.name,
        "owner": event.owner,
        "by": event.by or None,
        "using": event.using or None,
        "instance": event.instance or None,
        "authorized_by": event.authorized_by or None,
        "ip": event.ip,
        "changes": event.changes,
    }


def as_jsonl(events: Iterable[AuditEvent]) -> Iterator[str]:
    """A JSON object to a line."""
    for event in events:
        yield json.dumps(record(event)) + "\n"


def as_csv(events: Iterable[AuditEvent]) -> Iterator[str]:
    """RFC 4180, with a header; no cell is a formula to a spreadsheet."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(FIELDS)
    for event in events:
        yield _taken(buffer)
        row = record(event) | {"changes": json.dumps(event.changes, sort_keys=True)}
        writer.writerow([_cell(row[field]) for field in FIELDS])
    yield _taken(buffer)


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


#: How events are exported: the lines and the media type, by name.
FORMATS: Final = {
    "csv": (as_csv, "text/csv; charset=utf-8"),
    "jsonl": (as_jsonl, "application/jsonl; charset=utf-8"),
}
