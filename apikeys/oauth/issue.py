"""Make an access token that points back to what it came of, and never reaches beyond."""

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
from .clients import VerifiedKey
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
    #: The resources that it is restricted to (RFC 8707); empty for none.
    resource: Sequence[str] = ()

    @classmethod
    def of_key(cls, verified: VerifiedKey) -> "Subject":
        key, access = verified
        lifetime = app_settings.POLICY.token_lifetime(key.owner)
        return cls(access.scope, access.expires_at, lifetime, access.user, key)


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


def ends_at(subject: Subject) -> datetime:
    end = timezone.now() + subject.lifetime
    return end if subject.expires_at is None else min(end, subject.expires_at)


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
    origin = TokenOrigin(parent=subject.parent)
    if isinstance(subject.key, PersonalAccessToken):
        origin.personal_access_token = subject.key
    else:
        origin.project_key = subject.key
    with transaction.atomic(using=router.db_for_write(model)):
        row.save()
        origin.access_token = row
        origin.save(force_insert=True)
    return row
