"""Limit an access token to what its key, parent token and consent allow right now.

Only ``hold_to`` decides this. Code that loads an access token to act on it calls
``Validator._load_access_token``, which leads there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from django.db.models import QuerySet
from django.utils import timezone

from .. import restrictions, scopes
from ..cache.lookup import Wanted, all_except, fields
from ..conf.endings import end_settings
from ..models import AnyKey, PersonalAccessToken, ProjectKey, State
from ..models.owners import is_active
from ..restrictions import EMPTY, NAMES
from ..restrictions.base import Circumstances
from ..upstreams import are_active
from . import upstream
from .models import Consent

_ORIGIN: Final = "apikeys_origin"

_KEY: Final = (
    "public_id", "name", "scope", "expires_at", "revoked_at", "is_pending", "paused_at",
    "metadata",
    "user", "all_projects", "project", *NAMES,
)  # fmt: skip

#: Fields that a ``Lookup`` of access tokens fetches for ``hold``.
WANTED: Final[dict[str, Wanted]] = {
    _ORIGIN: all_except(),
    f"{_ORIGIN}__consent": fields("all_projects", "scope"),
}
#: Related rows that must be visible to their default managers.
OWNERS: Final = ("user",)
OWNERS_OF_KEYS: Final = (f"{_ORIGIN}__project_key__project",)


def wanted_of_keys(*, ages: bool) -> dict[str, Wanted]:
    """Return the fields for a second ``Lookup``, of tokens issued for a key or by an exchange.

    If one query joined all of them, PostgreSQL would spend more time planning it than on both
    queries. ``ages`` adds the age of the key.
    """
    key = fields(*_KEY, "created_at") if ages else fields(*_KEY)
    return {
        f"{_ORIGIN}__personal_access_token": key,
        f"{_ORIGIN}__project_key": key,
        f"{_ORIGIN}__project_key__project": all_except(),
        f"{_ORIGIN}__parent": fields("expires"),
    }


@dataclass(frozen=True, slots=True)
class KeyClient:
    """A key as the client of its tokens. It has no row in the application table."""

    client_id: str
    name: str


def attach(instance: Any, **related: Any) -> None:
    """Set related objects that were fetched together with ``instance``; ``None`` for no row."""
    # As `set_cached_value` of each field does, without a search for the fields.
    instance._state.fields_cache.update(related)


def is_of_key(origin: Any) -> bool:
    """Return whether a token of this origin needs ``wanted_of_keys`` to be checked."""
    ids = (origin.personal_access_token_id, origin.project_key_id, origin.parent_id)
    return ids != (None, None, None)


def attach_of_keys(origin: Any, instances: Sequence[Any]) -> None:
    """Set the related objects that were fetched with ``wanted_of_keys``."""
    personal_access_token, project_key, project, parent = instances
    attach(
        origin,
        personal_access_token=personal_access_token,
        project_key=project_key,
        parent=parent,
    )
    if project_key is not None:
        attach(project_key, project=project)


def hold(token: Any) -> bool:
    """Narrow ``token`` (in memory) to its origin; return ``False`` if the origin ended."""
    return hold_to(getattr(token, _ORIGIN, None), token)


def hold_to(origin: Any, token: Any) -> bool:
    """Narrow ``token`` like ``hold``, for an ``origin`` that is loaded; ``None`` for none."""
    token.apikeys_key = token.apikeys_consent = None
    token.apikeys_upstream = "" if origin is None else origin.upstream
    client = token.application
    if client is not None and not upstream.is_active_client(client):
        return False
    if origin is None:
        # Refuse a token without a user for a user's own client: nothing would limit it.
        return token.user_id is not None or client is None or client.user_id is None
    if origin.parent_id is not None and not _held_by_parent(token, origin.parent):
        return False
    if origin.upstream and not are_active(origin.upstream):
        return False
    if origin.consent_id is not None:
        token.apikeys_consent = given = origin.consent
        if given is None:
            return False
        if given.scope != token.scope:
            token.scope = scopes.narrow(token.scope, given.scope)
    if origin.personal_access_token_id is None and origin.project_key_id is None:
        return True
    key: AnyKey | None = origin.personal_access_token or origin.project_key
    if key is None:
        return False
    if end_settings.ENFORCE_LONGEST_LIFETIME and isinstance(key, PersonalAccessToken):
        if key.user_id != token.user_id:
            return False
        attach(key, user=token.user)  # the policy asks for it
    if key.state() is not State.LIVE:
        return False
    values = restrictions.of(key)
    if values is not EMPTY and not restrictions.passes(values, Circumstances(timezone.now(), True)):
        return False
    if isinstance(key, ProjectKey) and not is_active(key.project):
        return False
    if isinstance(key, PersonalAccessToken) and key.user_id != token.user_id:
        return False
    token.scope = scopes.narrow(token.scope, key.scope)
    if (ends := key.ends_at()) is not None:
        token.expires = min(token.expires, ends)
    token.apikeys_key = key
    return True


def _held_by_parent(token: Any, parent: Any) -> bool:
    if parent is None or parent.is_expired():
        return False
    token.expires = min(token.expires, parent.expires)
    return True


def client_of(token: Any) -> Any:
    """Return the client of ``token``: an application, or the key as a ``KeyClient``."""
    key, application = token.apikeys_key, token.application
    if application is None and key is not None:
        return KeyClient(key.public_id, key.name)
    return application


def selected_projects(token: Any) -> Any:
    """Return ``Access.selected``: the projects that the token's consent or key allows."""
    key, consent = token.apikeys_key, token.apikeys_consent
    if consent is not None and not consent.all_projects:
        return partial(_of_consent, consent.pk)
    if key is not None and not key.all_projects:
        return partial(_of_key, key.pk)
    return None


def _of_consent(pk: int) -> QuerySet[Any, Any]:
    return Consent.objects.filter(pk=pk, projects__isnull=False).values("projects")


def _of_key(pk: int) -> QuerySet[Any, Any]:
    return PersonalAccessToken.objects.filter(pk=pk, projects__isnull=False).values("projects")
