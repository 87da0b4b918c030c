"""Clients that act on behalf of their owner without a browser (client credentials).

The owner's consent limits such a client to scopes and projects. It is an ordinary ``Consent``:
the owner sees it among the authorized applications, narrows it and revokes it there.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from django.db import router

from .. import scopes
from . import consent
from .models import Consent

GRANT: Final = "client_credentials"


def is_one(application: Any) -> bool:
    """Return whether ``application`` belongs to a user and can keep a secret."""
    return bool(
        application.user_id is not None
        and application.client_type == application.CLIENT_CONFIDENTIAL
    )


def allow(application: Any, names: Sequence[str], projects: Iterable[Any] | None) -> Consent:
    """Store the owner's consent to scopes and projects (``None`` for all)."""
    scope = scopes.join(names)
    return consent.save(application.user, application, scope, projects, is_given=True)


def consent_of(application: Any) -> Any:
    """Return the consent that limits the tokens of ``application``; ``None`` if it was revoked."""
    rows = Consent.objects.using(router.db_for_write(Consent))
    given = rows.filter(user=application.user_id, application=application, is_given=True)
    return given.order_by("-pk").first()


def within(application: Any, names: Iterable[str]) -> list[str]:
    """Return the part of ``names`` that ``application`` may have for its owner today."""
    found = consent_of(application)
    if found is None:
        return []
    covered = scopes.expand(found.scope)
    wanted = [name for name in names if name in covered]
    return consent.allowed(wanted, application.user, application.client_id)


def default(application: Any) -> list[str]:
    """Return the scopes of a token that was requested without scopes."""
    found = consent_of(application)
    return [] if found is None else within(application, found.scope.split())
