"""Issue access tokens for a key or another token, limited to its scopes and lifetime."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import router
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.models import get_access_token_model, set_token_value
from oauthlib.oauth2.rfc6749 import errors

from .. import scopes
from ..conf import slug_of
from ..databases import transactions
from ..lifecycle import locking
from ..limits import networks
from ..models import AnyKey, PersonalAccessToken, ProjectKey
from ..models.metadata import stored
from ..policy import get_policy
from . import events, jwts, targets, upstream
from .http import AddressedRequest, own_resource
from .key_clients import VerifiedKey
from .models import TokenOrigin
from .scopes import limited


@dataclass(frozen=True)
class Subject:
    """The credential that a token is issued for. It limits what the token can reach."""

    scope: str
    #: When the credential expires; ``None`` for a key without expiry.
    expires_at: datetime | None
    #: Longest lifetime of a token.
    lifetime: timedelta
    user: Any = None
    key: AnyKey | None = None
    #: The access token to exchange; ``None`` for a key.
    parent: Any = None
    #: The first access token of a chain of exchanges.
    first: Any = None
    #: The users and clients of the parent tokens; see ``upstream``.
    upstream: str = ""
    #: The user's consent to the application; ``None`` without one.
    consent: Any = None
    #: The resources that the token is restricted to (RFC 8707); empty for no restriction.
    resource: Sequence[str] = ()

    @property
    def name(self) -> str | None:
        """The ``sub`` claim (RFC 9068 section 2.2); ``None`` without a user and a project."""
        if self.user is not None:
            return str(self.user.pk)
        return f"project:{slug_of(self.key.project)}" if isinstance(self.key, ProjectKey) else None

    @property
    def owner(self) -> Any:
        """The user or project that the token acts for; ``None`` for a client."""
        if self.user is not None:
            return self.user
        return self.key.project if isinstance(self.key, ProjectKey) else None

    @classmethod
    def of_key(cls, verified: VerifiedKey) -> "Subject":
        """Build the subject of a verified key."""
        key, access = verified
        lifetime = get_policy().token_lifetime(key.owner)
        return cls(
            access.scope, access.expires_at, lifetime, access.user, key, upstream=access.upstream
        )

    @classmethod
    def of_token(cls, row: Any) -> "Subject":
        """Build the subject of an access token that ``origin.hold`` has checked."""
        above = getattr(row, "apikeys_origin", None)
        first = row.pk if above is None else above.first_id or above.parent_id or row.pk
        return cls(
            scope=row.scope,
            expires_at=row.expires,
            lifetime=row.expires - timezone.now(),
            user=row.user,
            key=row.apikeys_key,
            parent=row,
            first=first,
            upstream=upstream.of(row),
            consent=row.apikeys_consent,
            resource=row.resource,
        )


def narrowed_scope(requested: Iterable[str] | None, subject: Subject) -> str:
    """Return the scope to issue: the requested one, or the subject's if none was requested.

    Raise ``InvalidScopeError`` for a scope that the subject does not have.
    """
    if not requested:
        return subject.scope
    names = scopes.join(requested)
    if not scopes.expand(subject.scope).issuperset(names.split()):
        raise errors.InvalidScopeError("The scope is unknown, or the subject does not have it.")
    return names


@sensitive_variables()
def answer(
    request: Any,
    generator: Any,
    subject: Subject,
    *,
    application: Any = None,
    as_jwt: bool = False,
) -> dict[str, Any]:
    """Issue a token for ``request`` (oauthlib's); return the response (RFC 6749 section 5.1).

    Raise an ``OAuth2Error`` for a scope or a target that ``subject`` does not cover.
    """
    subject = replace(subject, scope=" ".join(limited(subject.scope.split(), application)))
    scope = narrowed_scope(request.scopes, subject)
    within = subject.resource
    if within and targets.is_issued_for(application, within):
        resource = targets.requested(request, ()) or [own_resource(request.headers)]
    else:
        resource = targets.requested(request, within)
    now = timezone.now()
    expires = now + subject.lifetime
    if subject.expires_at is not None:
        expires = min(expires, subject.expires_at)
    if as_jwt or targets.take_jwts(resource):
        resource = resource or [own_resource(request.headers)]
        key_id = subject.key.public_id if subject.key else ""
        text = jwts.issue(
            request.headers,
            owner=subject.owner,
            subject=subject.name,
            client_id=application.client_id if application else key_id,
            scope=scope,
            resource=resource,
            issued_at=now,
            expires=expires,
            metadata=stored(subject.key.metadata) if subject.key else None,
        )
    else:
        text = generator(request)
    save(text, subject, scope=scope, expires=expires, application=application, resource=resource)
    events.note_exchange(
        application,
        key=subject.key,
        user=subject.user,
        parent=subject.parent,
        scope=scope,
        ip=networks.client_ip(AddressedRequest(request.headers)),
    )
    return {
        "access_token": text,
        "token_type": "Bearer",
        "expires_in": max(0, round((expires - now).total_seconds())),
        "scope": scope,
    }


@sensitive_variables()
def save(
    text: str,
    subject: Subject,
    *,
    scope: str,
    expires: datetime,
    application: Any = None,
    resource: Sequence[str] = (),
) -> Any:
    """Store ``text`` as an access token, hashed if DOT's token storage is set up so.

    Raise ``InvalidRequestError`` if the parent token ended meanwhile.
    """
    model = get_access_token_model()
    row = model(
        user=subject.user,
        application=application,
        scope=scope,
        expires=expires,
        resource=list(resource),
    )
    set_token_value(row, text)
    its_origin = TokenOrigin(
        parent=subject.parent,
        first_id=subject.first,
        upstream=subject.upstream,
        consent=subject.consent,
    )
    if isinstance(subject.key, PersonalAccessToken):
        its_origin.personal_access_token = subject.key
    else:
        its_origin.project_key = subject.key
    with transactions.atomic(model):
        if subject.parent is not None:
            _hold_parent(subject.parent)
        row.save()
        its_origin.access_token = row
        its_origin.save(force_insert=True)
    return row


def _hold_parent(parent: Any) -> None:
    """Lock ``parent`` until the transaction ends, so that whatever ends it finds its child."""
    locking.hold(parent)
    rows = type(parent)._default_manager.using(router.db_for_write(type(parent)))
    if not rows.filter(pk=parent.pk, expires__gt=timezone.now()).exists():
        raise errors.InvalidRequestError("The subject token is not valid.")
