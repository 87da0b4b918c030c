"""Write audit events about OAuth clients, consents and tokens, when their signals are sent."""

from typing import Any, Final

from django.db import IntegrityError
from django.db.models.signals import post_save
from django.utils import timezone
from oauth2_provider.models import get_application_model

from .. import audit, moments, scopes, token
from ..audit import About, Event
from ..conf import slug_of
from ..databases import transactions
from ..limits import networks
from ..models import AuditEvent
from ..models.audit import CLIENT
from . import identity, signals

_LONGEST_NAME: Final = 100


def _write(event: Event, application: Any, owner: Any, *, by: Any, **changes: Any) -> None:
    audit.save(_compose(event, application, owner, by=by, **changes))


def _compose(
    event: Event, application: Any, owner: Any, *, by: Any, once: str | None = None, **changes: Any
) -> AuditEvent:
    client_id = application.client_id
    name = identity.of(application).title[:_LONGEST_NAME]
    about = About(CLIENT, token.derived_id(client_id), name, owner)
    changes = {"client_id": client_id} | changes
    ip = networks.current_ip()
    return audit.compose_about(event, about, by=by, ip=ip, changes=changes, once=once)


def _save_once(row: AuditEvent) -> bool:
    """Save an event unless it was saved before. Return whether it is new."""
    if AuditEvent.objects.filter(once=row.once).exists():
        return False
    try:
        with transactions.atomic(AuditEvent):
            row.save()
    except IntegrityError:  # another process was faster
        return False
    return True


def _extent(scope: str, projects: Any) -> dict[str, Any]:
    named = None if projects is None else sorted(map(slug_of, projects))
    return {"scopes": list(scopes.split(scope)), "projects": named}


def _consented(
    application: Any, user: Any, by: Any, scope: str, projects: Any, **kwargs: Any
) -> None:
    _write(Event.CONSENTED, application, user, by=by, **_extent(scope, projects))


def _narrowed(application: Any, user: Any, by: Any, changes: Any, **kwargs: Any) -> None:
    _write(Event.NARROWED, application, user, by=by, **_diff(changes))


def _withdrawn(application: Any, user: Any, by: Any, **kwargs: Any) -> None:
    _write(Event.WITHDRAWN, application, user, by=by)


def _issued(
    application: Any, user: Any, by: Any, scope: str, grant_type: str, **kwargs: Any
) -> None:
    facts = {"scopes": list(scopes.split(scope)), "grant_type": grant_type}
    if user is not None:
        _write(Event.TOKEN_ISSUED, application, user, by=by, **facts)
        return
    # A program that acts for itself gets tokens all day.
    once = f"issued:{application.pk}:{timezone.now().date()}"
    owner = application.user if application.user_id is not None else None
    _save_once(_compose(Event.TOKEN_ISSUED, application, owner, by=by, once=once, **facts))


def last_login(application: Any, user: Any) -> AuditEvent | None:
    """Return the event of the last login of ``application`` for ``user``. One query.

    A refresh of its tokens is not a login. ``None`` if the event is missing or was deleted.
    """
    events = AuditEvent.objects.filter(
        kind=CLIENT,
        owner_pk=str(user.pk),
        public_id=token.derived_id(application.client_id),
        event=Event.TOKEN_ISSUED,
    )
    return events.order_by("-pk").first()


def note_exchange(
    application: Any, *, key: Any, user: Any, parent: Any, scope: str, ip: str | None
) -> None:
    """Write the first exchange of a day, of a key or of a user's token, by ``application``."""
    day = timezone.now().date()
    client = "" if application is None else application.pk
    facts: dict[str, Any] = {"scopes": list(scopes.split(scope))}
    if key is not None:
        once = f"exchanged:{key._meta.model_name}:{key.pk}:{client}:{day}"
        if application is not None:
            facts["application"] = identity.of(application).title
        row = audit.compose(Event.EXCHANGED, key, ip=ip, changes=facts, once=once)
    else:
        holder = application if application is not None else parent.application
        if holder is None:
            return
        once = f"exchanged:user:{user.pk if user is not None else ''}:{holder.pk}:{day}"
        row = _compose(Event.EXCHANGED, holder, user, by=None, once=once, **facts)
        row.ip = ip
    if _save_once(row):
        signals.token_exchanged.send(
            AuditEvent, application=application, by=None, user=user, key=key, scope=scope
        )


def _registered(sender: Any, instance: Any, created: bool, raw: bool, **kwargs: Any) -> None:
    """Note a new client, registered by a page, a program, its document or the admin."""
    if not created or raw:
        return
    user = instance.user if instance.user_id is not None else None
    _write(
        Event.CLIENT_REGISTERED,
        instance,
        user,
        by=user,
        source=instance.registration_source,
        redirect_uris=instance.redirect_uris.split(),
    )
    signals.client_registered.send(sender, application=instance, by=user)


def _edited(application: Any, by: Any, changes: Any, **kwargs: Any) -> None:
    owner = application.user if application.user_id is not None else None
    _write(Event.CLIENT_EDITED, application, owner, by=by, **_diff(changes))


def _rotated(application: Any, by: Any, expires_at: Any, **kwargs: Any) -> None:
    owner = application.user if application.user_id is not None else None
    ends = moments.iso(expires_at) if expires_at else None
    _write(Event.CLIENT_ROTATED, application, owner, by=by, expires_at=ends)


def _deleted(application: Any, by: Any, **kwargs: Any) -> None:
    owner = application.user if application.user_id is not None else None
    _write(Event.CLIENT_DELETED, application, owner, by=by)


def _diff(changes: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    return {field: {"before": before, "after": after} for field, (before, after) in changes.items()}


def connect() -> None:
    """Connect the audit log to the signals of clients and consents."""
    for signal, receiver in (
        (signals.consent_given, _consented),
        (signals.consent_narrowed, _narrowed),
        (signals.consent_withdrawn, _withdrawn),
        (signals.token_issued, _issued),
        (signals.client_edited, _edited),
        (signals.client_secret_rotated, _rotated),
        (signals.client_deleted, _deleted),
    ):
        signal.connect(receiver, dispatch_uid="apikeys.oauth.events")
    post_save.connect(
        _registered, sender=get_application_model(), dispatch_uid="apikeys.oauth.events"
    )
