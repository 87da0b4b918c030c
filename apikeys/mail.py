"""Mail the owners of keys: a key was created, paused, revoked or leaked, or expires soon.

The texts are the templates in ``apikeys/mail/``. A site can override them like other templates.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import IntegrityError, router, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils import translation

from . import audit, moments
from .audit import Event
from .conf import app_settings, slug_of
from .databases import clock, transactions
from .databases.primary import reading_primary
from .legacy import schemes
from .legacy.schemes import Scheme
from .limits import networks
from .models import KEY_MODELS, AnyKey, AuditEvent, PersonalAccessToken, live
from .models.owners import is_active
from .policy import get_policy
from .redaction import redact
from .signals import key_leaked, key_minted, key_paused, key_resumed, key_revoked

logger = logging.getLogger("apikeys")

#: Days before a key expires on which its owner gets a mail.
DAYS: Final = (1, 7)
#: Days before the header of imported keys stops working on which their owners get a mail.
LEGACY_DAYS: Final = 14

_held: ContextVar[list[Callable[[], None]] | None] = ContextVar("apikeys_held", default=None)

_CHUNK: Final = 500  # rows in memory at a time
_IDS: Final = 900  # in one statement
_LISTED: Final = 50  # keys in one mail
_GROUPED: Final = ("revoked", "paused", "resumed")  # one mail for all such keys of an owner


def is_configured() -> bool:
    """Return whether the site has settings for mail.

    Without any, Django sends mail to the server on this machine, which is rarely there.
    """
    names = ("EMAIL_BACKEND", "EMAIL_HOST", "EMAIL_PORT", "MAILERS")
    written: Any = settings
    return any(written.is_overridden(name) for name in names)


def recipients(key: AnyKey, but: Any = None) -> list[str]:
    """Return the mail addresses of the user, or of the users who manage the project's keys.

    Leave out the user ``but``.
    """
    if isinstance(key, PersonalAccessToken):
        people: Any = [key.user]
    else:
        people = get_policy().key_managers(key.project)
    return addresses(person for person in people if is_active(person) and person != but)


def addresses(people: Iterable[Any]) -> list[str]:
    """Return the mail addresses of these users, each once."""
    return sorted({address for person in people if (address := _address(person))})


def _address(person: Any) -> str:
    """Return the mail address of a user, or nothing if the user model has no field for it."""
    name = person.get_email_field_name() if hasattr(person, "get_email_field_name") else "email"
    return getattr(person, name, None) or ""


def send(name: str, key: AnyKey, to: list[str], variant: str = "", **context: Any) -> int:
    """Send the mail ``name`` about ``key`` to each address by itself. Return how many were sent.

    ``variant`` ends the names of the templates.

    If the server refuses one address, the others still get the mail. If it refuses all, raise the
    error of the mail backend.
    """
    if name not in app_settings.NOTICES or not to:
        return 0
    owner = key.owner
    context |= {"key": key, "name": key.name}
    context["owner"] = owner.get_username() if hasattr(owner, "get_username") else owner
    with translation.override(settings.LANGUAGE_CODE):  # not that of the current request
        subject = render_to_string(f"apikeys/mail/{name}{variant}_subject.txt", context)
        body = render_to_string(f"apikeys/mail/{name}{variant}.txt", context)
    headers = {"Auto-Submitted": "auto-generated"}  # RFC 3834: no automatic reply
    messages = [
        EmailMessage(redact(" ".join(subject.split())), redact(body), None, [each], headers=headers)
        for each in to
    ]
    sent, failed = 0, []
    for message in messages:
        try:
            sent += message.send() or 0
        except Exception as error:  # noqa: BLE001 - whatever the backend raises
            failed.append(error)
    if failed and not sent:
        raise failed[0]
    for each in failed:
        logger.error("Could not send one of the mails about %s: %s", key.public_id, each)
    return sent


@contextmanager
def held() -> Iterator[None]:
    """Hold mails back until the end of the block.

    So a command prints a new token before it waits for a slow mail server.
    """
    waiting: list[Callable[[], None]] = []
    token = _held.set(waiting)
    try:
        yield
    finally:
        _held.reset(token)
        for deliver in waiting:
            deliver()


class _Notice(NamedTuple):
    """A mail to send when the transaction is committed."""

    name: str
    key: AnyKey
    but: Any
    context: dict[str, Any]


def _later(name: str, key: AnyKey, but: Any = None, **context: Any) -> None:
    """Send the mail when the transaction is committed. A failure to send changes nothing else."""
    notice, batch = _Notice(name, key, but, context), audit.batch()
    if batch is not None and batch.notices:
        batch.notices.append(notice)
        return
    notices = [notice] if batch is None else batch.notices
    if batch is not None:
        notices.append(notice)

    def send_or_hold() -> None:
        deliver, waiting = partial(_deliver, notices), _held.get()
        if waiting is None:
            deliver()
        else:
            waiting.append(deliver)

    transaction.on_commit(send_or_hold, using=router.db_for_write(type(key)))


@reading_primary()
def _deliver(notices: list[_Notice]) -> None:
    people: dict[Any, list[str]] = {}  # the recipients of each owner, read once
    for group in _grouped(notices):
        first = group[0]
        owner = type(first.key), getattr(first.key, f"{first.key.OWNER}_id"), first.but
        try:
            if owner not in people:
                people[owner] = recipients(first.key, first.but)
            if len(group) == 1:
                send(first.name, first.key, people[owner], **first.context)
            else:
                keys = [notice.key for notice in group]
                several = {"keys": keys[:_LISTED], "more": len(keys[_LISTED:]), "count": len(keys)}
                send(first.name, first.key, people[owner], "_several", **several, **first.context)
        except OSError as error:  # the server is away or refuses; a traceback would not help
            ids = ", ".join(notice.key.public_id for notice in group[:_LISTED])
            level = logging.ERROR if is_configured() else logging.DEBUG
            logger.log(level, "Could not send the mail that %s was %s: %s", ids, first.name, error)
        except Exception:
            ids = ", ".join(notice.key.public_id for notice in group[:_LISTED])
            logger.exception("Could not send the mail that %s was %s.", ids, first.name)


def _grouped(notices: list[_Notice]) -> list[list[_Notice]]:
    """Return the notices to send, with all revoked keys of one owner in one mail. Paused too.

    Leave out revocations because of a leak: the mail about the leak says so.
    """
    groups: dict[Any, list[_Notice]] = {}
    leaked = _leaked_among([notice.key for notice in notices if notice.name == "revoked"])
    for number, notice in enumerate(notices):
        key = notice.key
        if notice.name not in _GROUPED:
            groups[number] = [notice]
        elif key.public_id not in leaked:
            owner = notice.name, type(key), getattr(key, f"{key.OWNER}_id"), notice.but
            groups.setdefault(owner, []).append(notice)
    return list(groups.values())


def _leaked_among(keys: list[AnyKey]) -> set[str]:
    """Return the IDs of the keys that were revoked because of a leak. One query per 900 keys."""
    ids = [key.public_id for key in keys]
    pages = [ids[start : start + _IDS] for start in range(0, len(ids), _IDS)]
    return {
        event.public_id
        for page in pages
        for event in AuditEvent.objects.filter(public_id__in=page, event=Event.LEAKED)
        if event.changes.get("revoked")
    }


def _minted(key: AnyKey, by: Any, **kwargs: Any) -> None:
    _later("minted", key, by=_name_of(by), ip=networks.current_ip())


def _changed(name: str) -> Callable[..., None]:
    def receive(key: AnyKey, by: Any, **kwargs: Any) -> None:
        if isinstance(key, PersonalAccessToken) and by is not None and by == key.user:
            return
        _later(name, key, but=by, by=_name_of(by))

    return receive


def _leaked(key: AnyKey, successors: list[AnyKey], successor: AnyKey | None, **kwargs: Any) -> None:
    facts = {name: kwargs[name] for name in ("source", "url")}
    facts |= {"revoked": key.revoked_at is not None}
    _later("leaked", key, **facts, successors=successors, successor=successor)


def _name_of(user: Any) -> str:
    return user.get_username() if user is not None else ""


def connect() -> None:
    """Connect the signals. ``AppConfig.ready`` calls this once."""
    for signal, receiver in (
        (key_minted, _minted),
        (key_revoked, _changed("revoked")),
        (key_paused, _changed("paused")),
        (key_resumed, _changed("resumed")),
        (key_leaked, _leaked),
    ):
        signal.connect(receiver, weak=False, dispatch_uid="apikeys.mail")


def notify(now: datetime | None = None) -> dict[str, int]:
    """Mail the owners of keys that expire soon, and record expired keys in the audit log.

    Also mail the owners of imported keys whose header stops working soon. Run it daily or more
    often, also on several servers at once: each mail is sent once. A mail that cannot be sent is
    tried again the next time. Return the number of keys by outcome.
    """
    now = now or clock.now(AuditEvent)
    done = {"expired": 0, "notified": 0, "failed": 0}
    for model in KEY_MODELS.values():
        done["expired"] += _record_expired(model, now)
        for key in _pages(_ending(model, now), "pk"):
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
    owner = model.OWNER
    return model._default_manager.select_related(owner).order_by("pk")


def _pages(rows: Any, *order: str) -> Iterator[Any]:
    """Yield rows in this order. The last field has to be unique.

    It does not use ``iterator()``: while a query is open, SQLite lets the connection write only if
    no other connection writes.
    """
    page = list(rows.order_by(*order)[:_CHUNK])
    while page:
        yield from page
        last = {name: getattr(page[-1], name) for name in order}
        later = Q()
        for number, name in enumerate(order):
            same = {each: last[each] for each in order[:number]}
            later |= Q(**same, **{f"{name}__gt": last[name]})
        page = list(rows.filter(later).order_by(*order)[:_CHUNK])


def _record_expired(model: Any, now: datetime) -> int:
    recorded = AuditEvent.objects.filter(public_id=OuterRef("public_id"), event=Event.EXPIRED)
    expired = _owned(model).filter(~Exists(recorded), revoked_at=None, expires_at__lte=now)
    if (until := AuditEvent.objects.pruned_until()) is not None:
        expired = expired.filter(expires_at__gte=until)  # the others had their event
    number = 0
    while keys := list(expired[:_CHUNK]):
        events = [(key, _expired(key)) for key in keys]
        with transactions.atomic(model):
            number += len(audit.write_once(events))
    return number


def _expired(key: Any) -> AuditEvent:
    once = f"expired:{key.KIND}:{key.pk}"
    return audit.compose(Event.EXPIRED, key, at=key.expires_at, once=once)


def _ending(model: Any, now: datetime) -> Any:
    soon = now + timedelta(days=max(DAYS))
    keys = _owned(model).filter(live(now), expires_at__lte=soon, rotated_at=None, is_pending=False)
    # No notice for a key that was created for a day.
    return keys.filter(expires_at__gt=F("created_at") + timedelta(days=min(DAYS)))


def _notify(key: Any, now: datetime) -> bool:
    days = next(n for n in DAYS if key.expires_at <= now + timedelta(days=n))
    if key.expires_at - key.created_at <= timedelta(days=days):
        return False
    once = f"notice:{key.KIND}:{key.pk}:{days}:{int(key.expires_at.timestamp())}"
    changes = {"days": days, "expires_at": moments.iso(key.expires_at)}
    event = audit.compose(Event.NOTIFIED, key, at=now, changes=changes, once=once)
    url = _url_of("rotate" if key.paused_at is None else "key", key)
    return bool(_send_once([event], "expiring", key, days=days, url=url))


def _url_of(page: str, key: AnyKey) -> str:
    """Return the URL of a settings page of ``key``; empty without ``SITE_URL`` or without pages."""
    if app_settings.SITE_URL is None:
        return ""
    kwargs = {"key_id": key.public_id}
    if not isinstance(key, PersonalAccessToken):
        kwargs["slug"] = slug_of(key.project)
    try:
        return app_settings.SITE_URL.rstrip("/") + reverse(f"apikeys:{page}", kwargs=kwargs)
    except NoReverseMatch:
        return ""


def _ending_with_their_header(model: Any, now: datetime) -> Iterator[tuple[Scheme, list[Any]]]:
    """Yield the imported keys of each owner who uses at least one, if their header ends soon."""
    owner = f"{model.OWNER}_id"
    for scheme in schemes.enabled().values():
        if not scheme.ends - timedelta(days=LEGACY_DAYS + 1) <= now < scheme.ends:
            continue
        lasting = Q(expires_at=None) | Q(expires_at__gt=scheme.ends)
        keys = _owned(model).filter(live(now), lasting, legacy__scheme=scheme.name, rotated_at=None)
        rows = _pages(keys, owner, "pk")
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
    """Send the mail, unless ``events`` were written before. Return how many were sent.

    The key ``once`` of the first event is unique. Without a recipient, no event is written.
    """
    once, to = events[0].once, recipients(key)
    if name not in app_settings.NOTICES or not to:
        return 0
    if AuditEvent.objects.filter(once=once).exists():
        return 0
    try:
        # Other processes wait here until it is sent, and try if it could not be sent.
        with transactions.atomic(AuditEvent):
            events[0].save()
            AuditEvent.objects.bulk_create(events[1:], batch_size=_CHUNK)
            return send(name, key, to, **context)
    except IntegrityError:
        if AuditEvent.objects.filter(once=once).exists():
            return 0
        raise
