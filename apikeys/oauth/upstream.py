"""Track the OAuth clients above a credential, through any chain of tokens and keys.

A credential stores them as ``client:<pk>``, beside the ``user:<pk>`` of the users above it,
separated by spaces. ``login:<family>`` names the refresh tokens of the login that it came from.
While one of them is deactivated or has ended, the credential is refused.
"""

from typing import Any

from django.db import router
from oauth2_provider.models import get_application_model, get_refresh_token_model

from ..models.owners import is_active


def of(token: Any) -> str:
    """Return what a child of ``token`` stores: the token's client, and all above it.

    ``origin.hold`` has checked the token before.
    """
    client = f"client:{token.application_id}" if token.application_id is not None else ""
    if not token.apikeys_upstream:
        return client
    return " ".join(sorted({*token.apikeys_upstream.split(), *client.split()}))


def are_active_clients(upstream: str) -> bool:
    """Return whether all clients in ``upstream`` exist and have an active owner.

    Takes at most one query.
    """
    if not _are_active_logins(upstream):
        return False
    names = [name for name in upstream.split() if name.startswith("client:")]
    if not names:
        return True
    model: Any = get_application_model()
    # Read from the primary database: a replica may lag behind.
    rows = model._default_manager.using(router.db_for_write(model)).select_related("user")
    found = list(rows.filter(pk__in=[name.partition(":")[2] for name in names]))
    return len(found) == len(names) and all(map(is_active_client, found))


def _are_active_logins(upstream: str) -> bool:
    """Return whether all logins in ``upstream`` still have a refresh token."""
    families = [name.partition(":")[2] for name in upstream.split() if name.startswith("login:")]
    if not families:
        return True
    model = get_refresh_token_model()
    rows = model._default_manager.using(router.db_for_write(model))
    live = rows.filter(token_family__in=families, revoked=None)
    return len(set(live.values_list("token_family", flat=True))) == len(set(families))


def is_active_client(application: Any) -> bool:
    """Return whether the client belongs to the site, or to an active user."""
    return application.user_id is None or is_active(application.user)
