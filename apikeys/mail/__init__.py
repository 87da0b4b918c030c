"""Mail the owners of keys about what happens to them: a key was created, paused or revoked.

``deadlines`` has the mails that come before an end. The texts are the templates in
``apikeys/mail/``. A site can override them like other templates.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import IntegrityError, router, transaction
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils import translation
from django.utils.functional import SimpleLazyObject

from .. import audit
from ..audit import Event
from ..conf import app_settings, slug_of
from ..databases import transactions
from ..databases.primary import reading_primary
from ..limits import networks
from ..models import AnyKey, AuditEvent, PersonalAccessToken
from ..models.owners import is_active
from ..policy import get_policy
from ..redaction import redact
from ..signals import (
    key_leaked,
    key_minted,
    key_paused,
    key_resumed,
    key_revoked,
    key_used_after_end,
)

logger = logging.getLogger("apikeys")

_held: ContextVar[list[Callable[[], None]] | None] = ContextVar("apikeys_held", default=None)

_IDS: Final = 900  # in one statement
LISTED: Final = 50  # keys in one mail
#: One mail for all such keys of an owner.
_GROUPED: Final = ("revoked", "paused", "resumed", "used_after_end")


def is_configured() -> bool:
    """Return whether the site has settings for mail.

    Without any, Django sends mail to the server on this machine, which is rarely there.
    """
    names = ("EMAIL_BACKEND", "EMAIL_HOST", "EMAIL_PORT", "MAILERS")
    written: Any = settings
    return any(written.is_overridden(name) for name in names)


def is_sent(name: str) -> bool:
    """Return whether the site sends the mail ``name``."""
    return name in app_settings.NOTICES and is_configured()


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
                several = {"keys": keys[:LISTED], "more": len(keys[LISTED:]), "count": len(keys)}
                context = first.context | several
                send(first.name, first.key, people[owner], "_several", **context)
        except OSError as error:  # the server is away or refuses; a traceback would not help
            ids = ", ".join(notice.key.public_id for notice in group[:LISTED])
            level = logging.ERROR if is_configured() else logging.DEBUG
            logger.log(level, "Could not send the mail that %s was %s: %s", ids, first.name, error)
        except Exception:
            ids = ", ".join(notice.key.public_id for notice in group[:LISTED])
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
            owner_pk, project = getattr(key, f"{key.OWNER}_id"), notice.context.get("project")
            owner = notice.name, type(key), owner_pk, notice.but, project
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


def _used_after_end(
    key: AnyKey,
    at: datetime,
    ip: str | None,
    code: str,
    count: int,
    project: str = "",
    **kwargs: Any,
) -> None:
    # The successor of a token that is denied in a project is denied there too.
    # One mail may be about a thousand keys, and names no successor then.
    successor = None if project else SimpleLazyObject(lambda: key.successor)
    facts: dict[str, Any] = {"at": at, "ip": ip, "code": code, "count": count, "project": project}
    _later("used_after_end", key, **facts, successor=successor, url=url_of("key", key))


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
        (key_used_after_end, _used_after_end),
    ):
        signal.connect(receiver, weak=False, dispatch_uid="apikeys.mail")


def url_of(page: str, key: AnyKey) -> str:
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


def send_once(
    events: list[AuditEvent], name: str, key: AnyKey, *, even_unsent: bool = False, **context: Any
) -> int:
    """Send the mail, unless ``events`` were written before. Return how many were sent.

    The key ``once`` of the first event is unique. Without a recipient, no event is written
    unless ``even_unsent``.
    """
    once, to = events[0].once, recipients(key)
    if not even_unsent and (name not in app_settings.NOTICES or not to):
        return 0
    if AuditEvent.objects.filter(once=once).exists():
        return 0
    try:
        # Other processes wait here until it is sent, and try if it could not be sent.
        with transactions.atomic(AuditEvent):
            events[0].save()
            AuditEvent.objects.bulk_create(events[1:], batch_size=_IDS)
            return send(name, key, to, **context)
    except IntegrityError:
        if AuditEvent.objects.filter(once=once).exists():
            return 0
        raise
