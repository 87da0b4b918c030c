"""Mail to those whose keys these are: of a new one, of its end, of a leak, of an old header's end.

The texts are the templates in ``apikeys/mail/``, which a site overrides like any others.
"""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import IntegrityError, router, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.template.loader import render_to_string
from django.utils import timezone, translation

from . import audit, networks
from .access import Access
from .audit import Event
from .conf import app_settings
from .legacy import schemes
from .legacy.schemes import Scheme
from .models import KEY_MODELS, AuditEvent, PersonalAccessToken, ProjectKey, live
from .redaction import redact
from .signals import key_leaked, key_minted, key_revoked

logger = logging.getLogger("apikeys")

AnyKey = PersonalAccessToken | ProjectKey

#: Days before its end when the owner of a key is told.
DAYS: Final = (1, 7)
#: Days before the last one of a predecessor's header when holders of its keys are told.
LEGACY_DAYS: Final = 14

_CHUNK: Final = 500  # rows in memory at a time
_LISTED: Final = 50  # keys in one mail


def recipients(key: AnyKey, but: Any = None) -> list[str]:
    """The addresses of those whose key it is: its user, or who manages the project's keys."""
    if isinstance(key, PersonalAccessToken):
        people: Any = [key.user]
    else:
        people = app_settings.POLICY.key_managers(key.project)
    addresses = (
        getattr(person, person.get_email_field_name(), "")
        for person in people
        if person.is_active and person != but
    )
    return sorted({address for address in addresses if address})


def send(name: str, key: AnyKey, to: list[str], **context: Any) -> int:
    """Send the mail ``name`` about ``key`` to each of ``to`` by itself; returns how many.

    Raises whatever the mail backend does.
    """
    if name not in app_settings.NOTICES or not to:
        return 0
    owner = key.owner
    context |= {"key": key, "name": key.name}
    context["owner"] = owner.get_username() if hasattr(owner, "get_username") else owner
    with translation.override(settings.LANGUAGE_CODE):  # not that of whoever did it
        subject = render_to_string(f"apikeys/mail/{name}_subject.txt", context)
        body = render_to_string(f"apikeys/mail/{name}.txt", context)
    headers = {"Auto-Submitted": "auto-generated"}  # RFC 3834: no answer of an absent person
    messages = [
        EmailMessage(redact(" ".join(subject.split())), redact(body), None, [each], headers=headers)
        for each in to
    ]
    return sum(message.send() or 0 for message in messages)


def _later(name: str, key: AnyKey, but: Any = None, **context: Any) -> None:
    """Send it when what it tells of is written; a failure does not undo that."""

    def deliver() -> None:
        try:
            if name == "revoked" and _is_leak(key):
                return  # its own mail tells of it
            send(name, key, recipients(key, but), **context)
        except OSError as error:  # a server that is away or refuses: a traceback tells no more
            logger.error("Could not send the mail that %s was %s: %s", key.public_id, name, error)
        except Exception:
            logger.exception("Could not send the mail that %s was %s.", key.public_id, name)

    transaction.on_commit(deliver, using=router.db_for_write(type(key)))


def _is_leak(key: AnyKey) -> bool:
    leaks = AuditEvent.objects.filter(public_id=key.public_id, event=Event.LEAKED)
    return any(event.changes.get("revoked") for event in leaks)


def _minted(key: AnyKey, by: Any, **kwargs: Any) -> None:
    _later("minted", key, by=_name_of(by), ip=networks.current_ip())


def _revoked(key: AnyKey, by: Any, using: Access | None, **kwargs: Any) -> None:
    if isinstance(key, PersonalAccessToken) and by is not None and by == key.user:
        return
    _later("revoked", key, but=by, by=_name_of(by))


def _leaked(key: AnyKey, source: str, url: str, **kwargs: Any) -> None:
    _later("leaked", key, source=source, url=url, revoked=key.revoked_at is not None)


def _name_of(user: Any) -> str:
    return user.get_username() if user is not None else ""


def connect() -> None:
    """Begin to listen; done once, when Django starts."""
    for signal, receiver in (
        (key_minted, _minted),
        (key_revoked, _revoked),
        (key_leaked, _leaked),
    ):
        signal.connect(receiver, dispatch_uid="apikeys.notices")


def notify(now: datetime | None = None) -> dict[str, int]:
    """Tell owners of keys that end soon, or whose old header does, and the audit log of those
    that have ended.

    Run it once a day or more often, in several places if need be: each is told once. What
    cannot be sent is tried again the next time.
    """
    now = now or timezone.now()
    done = {"expired": 0, "notified": 0, "failed": 0}
    for model in KEY_MODELS.values():
        done["expired"] += _tell_of_expired(model, now)
        for key in _ending(model, now).iterator(chunk_size=_CHUNK):
            try:
                done["notified"] += _notify(key, now)
            except Exception:
                logger.exception("Could not send the mail that %s expires.", key.public_id)
                done["failed"] += 1
        for scheme, keys in _ending_with_their_header(model, now):
            try:
                done["notified"] += _notify_of_header(scheme, keys, now)
            except Exception:
                ids = ", ".join(key.public_id for key in keys[:_LISTED])
                logger.exception("Could not send the mail that %s end: %s.", scheme.name, ids)
                done["failed"] += 1
    return done


def _owned(model: Any) -> Any:
    owner = "user" if model is PersonalAccessToken else "project"
    return model._default_manager.select_related(owner).order_by("pk")


def _tell_of_expired(model: Any, now: datetime) -> int:
    told = AuditEvent.objects.filter(public_id=OuterRef("public_id"), event=Event.EXPIRED)
    over = _owned(model).filter(~Exists(told), revoked_at=None, expires_at__lte=now)
    number = 0
    while keys := list(over[:_CHUNK]):
        with transaction.atomic(using=router.db_for_write(model)):
            compose = partial(audit.compose, Event.EXPIRED)
            number += len(
                audit.write_once(
                    [
                        (key, compose(key, at=key.expires_at, once=f"expired:{key.KIND}:{key.pk}"))
                        for key in keys
                    ]
                )
            )
    return number


def _ending(model: Any, now: datetime) -> Any:
    soon = now + timedelta(days=max(DAYS))
    keys = _owned(model).filter(live(now), expires_at__lte=soon, rotated_at=None, is_pending=False)
    # Whoever makes a key for a day knows that it ends.
    return keys.filter(expires_at__gt=F("created_at") + timedelta(days=min(DAYS)))


def _notify(key: Any, now: datetime) -> bool:
    days = next(n for n in DAYS if key.expires_at <= now + timedelta(days=n))
    if key.expires_at - key.created_at <= timedelta(days=days):
        return False
    once = f"notice:{key.KIND}:{key.pk}:{days}:{int(key.expires_at.timestamp())}"
    changes = {"days": days, "expires_at": key.expires_at.isoformat()}
    event = audit.compose(Event.NOTIFIED, key, at=now, changes=changes, once=once)
    return bool(_send_once([event], "expiring", key, days=days))


def _ending_with_their_header(model: Any, now: datetime) -> Iterator[tuple[Scheme, list[Any]]]:
    """The imported keys of each owner who uses one of them, where they end with their header."""
    owner = "user_id" if model is PersonalAccessToken else "project_id"
    for scheme in schemes.enabled().values():
        if not scheme.ends - timedelta(days=LEGACY_DAYS + 1) <= now < scheme.ends:
            continue
        lasting = Q(expires_at=None) | Q(expires_at__gt=scheme.ends)
        keys = _owned(model).filter(live(now), lasting, legacy__scheme=scheme.name, rotated_at=None)
        rows = keys.order_by(owner, "pk").iterator(chunk_size=_CHUNK)
        for _owner, of_owner in groupby(rows, attrgetter(owner)):
            listed = list(of_owner)
            if any(key.last_used_at for key in listed):
                yield scheme, listed


def _notify_of_header(scheme: Scheme, keys: list[Any], now: datetime) -> int:
    first, until = keys[0], scheme.until.isoformat()
    compose = partial(
        audit.compose, Event.NOTIFIED, at=now, changes={"scheme": scheme.name, "until": until}
    )
    events = [compose(key) for key in keys]
    events[0].once = f"notice:legacy:{scheme.name}:{until}:{first.KIND}:{first.owner.pk}"
    used_first = sorted(keys, key=lambda key: key.last_used_at is None)
    context = {"keys": used_first[:_LISTED], "more": len(keys[_LISTED:]), "scheme": scheme}
    return len(keys) if _send_once(events, "legacy_ending", first, **context) else 0


def _send_once(events: list[AuditEvent], name: str, key: AnyKey, **context: Any) -> int:
    """``send`` it to all, unless it was told before: the first of ``events`` is written once.

    Nothing is written where nobody is told.
    """
    once, to = events[0].once, recipients(key)
    if name not in app_settings.NOTICES or not to:
        return 0
    if AuditEvent.objects.filter(once=once).exists():
        return 0
    try:
        # Others wait here until it is sent, and send it if it could not be.
        with transaction.atomic(using=router.db_for_write(AuditEvent)):
            events[0].save()
            AuditEvent.objects.bulk_create(events[1:], batch_size=_CHUNK)
            return send(name, key, to, **context)
    except IntegrityError:
        if AuditEvent.objects.filter(once=once).exists():
            return 0
        raise
