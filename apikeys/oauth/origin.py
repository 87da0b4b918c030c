"""Access tokens that came of a key or a consent: held to what that is and allows now.

``hold`` is the one place where that is decided; whatever loads an access token to act on it
goes through ``Validator._load_access_token``, which calls it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from django.db.models import QuerySet

from .. import scopes
from ..lookup import Wanted, but, only
from ..models import PersonalAccessToken, ProjectKey, State
from .models import Consent

AnyKey = PersonalAccessToken | ProjectKey

_ORIGIN: Final = "apikeys_origin"

_KEY: Final = only(
    "public_id", "name", "scope", "expires_at", "revoked_at", "is_pending",
    "allowed_networks", "rate_limits", "user", "all_projects", "project",
)  # fmt: skip

#: What a ``Lookup`` of access tokens fetches for ``hold``.
WANTED: Final[dict[str, Wanted]] = {_ORIGIN: but(), f"{_ORIGIN}__consent": only("all_projects")}
#: What a second one fetches of those that came of a key or were exchanged. Were all of it
#: joined to every token, PostgreSQL would plan that for longer than both queries take.
WANTED_OF_KEYS: Final[dict[str, Wanted]] = {
    f"{_ORIGIN}__personal_access_token": _KEY,
    f"{_ORIGIN}__project_key": _KEY,
    f"{_ORIGIN}__project_key__project": but(),
    f"{_ORIGIN}__parent": only("expires"),
}


@dataclass(frozen=True, slots=True)
class KeyClient:
    """A key as the client of its tokens: it has no row among the applications."""

    client_id: str
    name: str


def attach(instance: Any, **related: Any) -> None:
    """Give ``instance`` what was fetched along with it; a reference to nothing stays one."""
    for name, value in related.items():
        instance._meta.get_field(name).set_cached_value(instance, value)


def is_of_key(origin: Any) -> bool:
    """Whether it takes ``WANTED_OF_KEYS`` to judge a token of this origin."""
    ids = (origin.personal_access_token_id, origin.project_key_id, origin.parent_id)
    return ids != (None, None, None)


def attach_of_keys(origin: Any, instances: Sequence[Any]) -> None:
    """As ``attach``, of ``WANTED_OF_KEYS``."""
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
    """Narrow ``token`` (in memory) to what it came of; ``False`` if that ended."""
    return hold_to(getattr(token, _ORIGIN, None), token)


def hold_to(origin: Any, token: Any) -> bool:
    """As ``hold``, by whoever has the origin, or knows that there is none."""
    token.apikeys_key = token.apikeys_consent = None
    if origin is None:
        # Nobody bounds what a person's own client would do in its own name.
        client = token.application
        return token.user_id is not None or client is None or client.user_id is None
    if origin.parent_id is not None and not _held_by_parent(token, origin.parent):
        return False
    if origin.consent_id is not None:
        token.apikeys_consent = origin.consent
        if origin.consent is None:
            return False
    if origin.personal_access_token_id is None and origin.project_key_id is None:
        return True
    key: AnyKey | None = origin.personal_access_token or origin.project_key
    if key is None or key.state() is not State.LIVE:
        return False
    if isinstance(key, ProjectKey) and not getattr(key.project, "is_active", True):
        return False
    if isinstance(key, PersonalAccessToken) and key.user_id != token.user_id:
        return False
    token.scope = scopes.narrow(token.scope, key.scope)
    if key.expires_at is not None:
        token.expires = min(token.expires, key.expires_at)
    token.apikeys_key = key
    return True


def _held_by_parent(token: Any, parent: Any) -> bool:
    if parent is None or parent.is_expired():
        return False
    token.expires = min(token.expires, parent.expires)
    return True


def client_of(token: Any) -> Any:
    """The application that holds ``token``, or the key that is its own client."""
    key = token.apikeys_key
    if token.application is None and key is not None:
        return KeyClient(key.public_id, key.name)
    return token.application


def selected_projects(token: Any) -> Any:
    """For ``Access.selected``: what the token's key, or its user, restricted it to."""
    key, consent = token.apikeys_key, token.apikeys_consent
    if consent is not None and not consent.all_projects:
        return partial(_of_consent, consent.pk)
    if isinstance(key, PersonalAccessToken) and not key.all_projects:
        return partial(_of_key, key.pk)
    return None


def _of_consent(pk: int) -> QuerySet[Any, Any]:
    return Consent.objects.filter(pk=pk, projects__isnull=False).values("projects")


def _of_key(pk: int) -> QuerySet[Any, Any]:
    return PersonalAccessToken.objects.filter(pk=pk, projects__isnull=False).values("projects")
