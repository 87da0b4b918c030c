import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from argon2 import PasswordHasher
from django.db.models import QuerySet
from django.http import HttpRequest
from rest_framework.test import APIClient

from .. import acceptance, hashing, token, verify
from ..access import PERSONAL_ACCESS_TOKEN, PROJECT_KEY, Access
from ..lifecycle import Minted
from ..models import get_project_model
from ..scopes import join


def bearer(credential: str | Minted[Any]) -> dict[str, str]:
    """Return the header with ``credential``, for ``headers=`` of Django's test clients.

    ``Client(headers=bearer(minted))`` sends it with each request; so do ``APIClient`` and the
    request factories. With ``AsyncClient``, pass it to each request.
    """
    text = credential if isinstance(credential, str) else credential.token
    return {"Authorization": f"Bearer {text}"}


def api_client(credential: str | Minted[Any]) -> APIClient:
    """Return an ``APIClient`` that sends ``credential`` with each request."""
    return APIClient(headers=bearer(credential))


def access_for(
    *,
    user: Any = None,
    project: Any = None,
    scopes: Iterable[str],
    projects: Iterable[Any] | None = None,
    **fields: Any,
) -> Access:
    """Return an ``Access`` like that of a key of ``user`` or ``project``, without a key.

    Nothing is saved, and both may be unsaved. ``projects`` restricts a user's credential;
    ``fields`` are more fields of ``Access``, such as ``expires_at`` or ``client``. Raise
    ``TypeError`` unless exactly one of ``user`` and ``project`` is given.
    """
    if (user is None) == (project is None):
        raise TypeError("access_for() needs either a user or a project.")
    if projects is not None:
        if user is None:
            raise TypeError("access_for() accepts projects only with a user.")
        fields["selected"] = partial(_select, [each.pk for each in projects])
    defaults: dict[str, Any] = {
        "kind": PROJECT_KEY if user is None else PERSONAL_ACCESS_TOKEN,
        "credential_id": token.generate_id(),
        "name": "test",
        "principal": acceptance.principal_of(project) if user is None else user,
    }
    return Access(user=user, project=project, scope=join(scopes), **defaults | fields)


@contextmanager
def force_access(access: Access) -> Iterator[str]:
    """Yield a credential, as text, that is verified as ``access`` inside the block.

    Only the lookup in the database is replaced. The header, the authentication of the view's
    framework, its scopes and its throttles are real. The policy still decides about projects,
    and may query the database.
    """
    text = secrets.token_hex(32)
    if not _forced:
        verify.register(_resolve, first=True)  # before OAuth's, which refuses unknown tokens
    _forced[text] = access
    try:
        yield text
    finally:
        del _forced[text]
        if not _forced:
            verify.unregister(_resolve)


@contextmanager
def fast_hashing() -> Iterator[None]:
    """Use the cheapest Argon2id inside the block, for tests that create many keys.

    Like ``MD5PasswordHasher`` for passwords: never use it in production.
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
