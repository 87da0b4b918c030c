import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from argon2 import PasswordHasher
from django.db.models import QuerySet
from django.http import HttpRequest
from rest_framework.test import APIClient

from .. import hashing, token, verify
from ..access import PERSONAL_ACCESS_TOKEN, PROJECT_KEY, Access, ProjectUser
from ..lifecycle import Minted
from ..models import get_project_model
from ..scopes import join


def bearer(credential: str | Minted[Any]) -> dict[str, str]:
    """The header that presents ``credential``: ``headers=`` of every client of Django's.

    ``Client(headers=bearer(minted))`` sends it with each request, and so do ``APIClient`` and
    the request factories. ``AsyncClient`` takes it with each request only.
    """
    text = credential if isinstance(credential, str) else credential.token
    return {"Authorization": f"Bearer {text}"}


def api_client(credential: str | Minted[Any]) -> APIClient:
    """A client of Django REST framework's that presents ``credential`` with each request."""
    return APIClient(headers=bearer(credential))


def access_for(
    *,
    user: Any = None,
    project: Any = None,
    scopes: Iterable[str],
    projects: Iterable[Any] | None = None,
    **fields: Any,
) -> Access:
    """What a view finds in ``request.auth`` for a key of ``user`` or ``project``, without one.

    Nothing is stored, and both may be unsaved. ``projects`` restricts a user's credential to
    those; ``fields`` are further ones of ``Access``, such as ``expires_at`` or ``client``.
    """
    if (user is None) == (project is None):
        raise TypeError("access_for() takes a user or a project, not both.")
    if projects is not None:
        if user is None:
            raise TypeError("access_for() takes projects only for a user.")
        fields["selected"] = partial(_select, [each.pk for each in projects])
    defaults: dict[str, Any] = {
        "kind": PROJECT_KEY if user is None else PERSONAL_ACCESS_TOKEN,
        "credential_id": token.generate_id(),
        "name": "test",
        "principal": ProjectUser(project) if user is None else user,
    }
    return Access(user=user, project=project, scope=join(scopes), **defaults | fields)


@contextmanager
def force_access(access: Access) -> Iterator[str]:
    """A credential that stands for ``access`` while this is open: text for the header.

    All that a request goes through is real: the header, the authentication of whichever
    framework the view is for, its scopes and its throttles. Only the look-up in the database
    is not. Rights in a project are still asked of the policy, which may ask the database.
    """
    text = secrets.token_hex(32)
    if not _forced:
        verify.register(_resolve, first=True)  # OAuth's refuses what it does not know
    _forced[text] = access
    try:
        yield text
    finally:
        del _forced[text]
        if not _forced:
            verify.unregister(_resolve)


@contextmanager
def fast_hashing() -> Iterator[None]:
    """Argon2id with the least of memory and time, for tests that mint many keys.

    What ``MD5PasswordHasher`` is for passwords; nothing for a site that runs.
    """
    real = hashing._argon2
    hashing._argon2 = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    try:
        yield
    finally:
        hashing._argon2 = real


_forced: dict[str, Access] = {}


def _resolve(text: str, request: HttpRequest | None) -> Access | None:
    return _forced.get(text)


def _select(pks: list[Any]) -> QuerySet[Any, Any]:
    selected: QuerySet[Any, Any] = get_project_model()._default_manager.filter(pk__in=pks)
    return selected.values("pk")
