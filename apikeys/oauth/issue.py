"""Make an access token that points back to what it came of, and never reaches beyond."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import router, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.models import get_access_token_model, set_token_value
from oauthlib.oauth2.rfc6749 import errors

from .. import scopes
from ..conf import app_settings
from ..models import PersonalAccessToken, ProjectKey
from . import jwts, targets
from .clients import VerifiedKey
from .http import issuer, own_resource
from .models import TokenOrigin

AnyKey = PersonalAccessToken | ProjectKey


@dataclass(frozen=True)
class Subject:
    """What a token is made of: the most that it may reach."""

    scope: str
    #: When it ends; ``None`` for a key without expiry.
    expires_at: datetime | None
    #: How long a token of it may live.
    lifetime: timedelta
    user: Any = None
    key: AnyKey | None = None
    #: The access token that it hangs on; ``None`` for a key itself.
    parent: Any = None
    #: What its user consented to, if that was to an application.
    consent: Any = None
    #: The resources that it is restricted to (RFC 8707); empty for none.
    resource: Sequence[str] = ()

    @property
    def name(self) -> str | None:
        """``sub`` of RFC 9068 section 2.2; ``None`` where no person and no project is."""
        if self.user is not None:
            return str(self.user.pk)
        return f"project:{self.key.project.slug}" if isinstance(self.key, ProjectKey) else None

    @classmethod
    def of_key(cls, verified: VerifiedKey) -> "Subject":
        key, access = verified
        lifetime = app_settings.POLICY.token_lifetime(key.owner)
        return cls(access.scope, access.expires_at, lifetime, access.user, key)

    @classmethod
    def of_token(cls, row: Any) -> "Subject":
        """Of an access token that ``origin.hold`` has seen."""
        earlier = getattr(row, "apikeys_origin", None)
        return cls(
            scope=row.scope,
            expires_at=row.expires,
            lifetime=row.expires - timezone.now(),
            user=row.user,
            key=row.apikeys_key,
            parent=row if earlier is None or earlier.parent_id is None else earlier.parent,
            consent=row.apikeys_consent,
            resource=row.resource,
        )


def narrowed_scope(requested: Iterable[str] | None, subject: Subject) -> str:
    """The scope to issue; the subject's own if none was requested.

    Raises ``InvalidScopeError`` for a scope that the subject does not amount to.
    """
    if not requested:
        return subject.scope
    names = scopes.join(requested)
    if not scopes.expand(subject.scope).issuperset(names.split()):
        raise errors.InvalidScopeError("The scope is unknown, or exceeds what the subject has.")
    return names


@sensitive_variables("text")
def answer(
    request: Any,
    generator: Any,
    subject: Subject,
    *,
    application: Any = None,
    as_jwt: bool = False,
) -> dict[str, Any]:
    """Issue a token for ``request`` (oauthlib's) and tell of it (RFC 6749 section 5.1).

    Raises an ``OAuth2Error`` for a scope or a target that ``subject`` does not cover.
    """
    scope = narrowed_scope(request.scopes, subject)
    resource = targets.requested(request, subject.resource)
    now = timezone.now()
    expires = now + subject.lifetime
    if subject.expires_at is not None:
        expires = min(expires, subject.expires_at)
    if as_jwt:
        resource = resource or [own_resource(request.headers)]
        key_id = subject.key.public_id if subject.key else ""
        client_id = application.client_id if application else key_id
        text = jwts.sign(
            {
                "iss": issuer(request.headers),
                "sub": subject.name or client_id,
                "aud": resource[0] if len(resource) == 1 else resource,
                "client_id": client_id,
                "scope": scope,
                "jti": str(uuid.uuid4()),
                "iat": int(now.timestamp()),
                "exp": int(expires.timestamp()),
            }
        )
    else:
        text = generator(request)
    save(text, subject, scope=scope, expires=expires, application=application, resource=resource)
    return {
        "access_token": text,
        "token_type": "Bearer",
        "expires_in": max(0, round((expires - now).total_seconds())),
        "scope": scope,
    }


@sensitive_variables("text")
def save(
    text: str,
    subject: Subject,
    *,
    scope: str,
    expires: datetime,
    application: Any = None,
    resource: Sequence[str] = (),
) -> Any:
    """Store ``text`` as an access token (hashed at rest, where DOT is set up so)."""
    model = get_access_token_model()
    row = model(
        user=subject.user,
        application=application,
        scope=scope,
        expires=expires,
        resource=list(resource),
    )
    set_token_value(row, text)
    origin = TokenOrigin(parent=subject.parent, consent=subject.consent)
    if isinstance(subject.key, PersonalAccessToken):
        origin.personal_access_token = subject.key
    else:
        origin.project_key = subject.key
    with transaction.atomic(using=router.db_for_write(model)):
        row.save()
        origin.access_token = row
        origin.save(force_insert=True)
    return row
