"""Restore an ``Access`` in a task, from what ``Access.to_dict`` stored in its context."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import QuerySet

from . import acceptance, access, moments, refusals, restrictions, scopes
from .access import EXTERNAL, OAUTH, PERSONAL_ACCESS_TOKEN, PROJECT_KEY, Access, ServiceUser
from .databases.primary import reading_primary
from .frozen import frozen
from .models import get_project_model
from .models.owners import is_active
from .refusals import Refused
from .verify import recheck


class Client(NamedTuple):
    """The OAuth client of a carried ``Access``."""

    client_id: str
    name: str


class ClientUser(ServiceUser):
    """The ``principal`` of a carried token without a user (client credentials)."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def get_username(self) -> str:
        return f"client:{self.client.client_id}"


#: Returns the current ``Access`` of a credential, by what ``to_dict`` stored. Raises ``Refused``.
Recheck = Callable[[Mapping[str, Any]], Access]
_rechecks: Final[dict[str, Recheck]] = {}


def register(kind: str, again: Callable[[str], Access]) -> None:
    """Set the function that verifies a credential of ``kind`` again by its ID."""
    register_stored(kind, lambda data: again(data["id"]))


def register_stored(kind: str, again: Recheck) -> None:
    """Set the function that verifies a credential of ``kind`` again by its stored data."""
    _rechecks[kind] = again


for _kind in (PERSONAL_ACCESS_TOKEN, PROJECT_KEY):
    register(_kind, recheck)


def restore(data: Mapping[str, Any], verify: bool) -> Access:
    """Return the ``Access`` of ``data``; see ``Access.from_dict``."""
    with reading_primary():
        if data["tenant"] != access.tenant():  # its rows may have the same primary keys
            is_token = data["kind"] in (OAUTH, EXTERNAL)
            raise Refused(refusals.INVALID_TOKEN if is_token else refusals.INVALID_KEY)
        return _verified(data) if verify else _as_it_was(data)


def _verified(data: Mapping[str, Any]) -> Access:
    again = _rechecks.get(data["kind"])
    if again is None:
        raise Refused(refusals.INVALID_TOKEN)
    found = again(data)
    owners = access.pk_of(found.user), access.pk_of(found.project)
    if owners != (data["user"], data["project"]):
        raise Refused(refusals.INVALID_KEY)
    # Not beyond what the request could do: the key may have been widened since.
    found.scope = scopes.narrow(found.scope, data["scope"])
    if data["expires_at"] is not None:
        ends = moments.parse(data["expires_at"])
        found.expires_at = min(found.expires_at or ends, ends)
    if found.is_expired():
        is_token = found.kind in (OAUTH, EXTERNAL)
        raise Refused(refusals.INVALID_TOKEN if is_token else refusals.EXPIRED_KEY)
    if data["projects"] is not None:
        found.selected = partial(_both, data["projects"], found.selected)
    carried = restrictions.from_json(data["restrictions"])
    restrictions.put(found, restrictions.both(carried, restrictions.of(found)))
    found.is_for_some_resources |= data["is_for_some_resources"]
    _sign(found, data)
    return found


def _as_it_was(data: Mapping[str, Any]) -> Access:
    user = _find(get_user_model(), data["user"], refusals.INACTIVE_USER)
    project = _find(get_project_model(), data["project"], refusals.INACTIVE_PROJECT)
    client = None if data["client"] is None else Client(data["client"], data["name"])
    external = data.get("external_claims")
    principal = user
    if project is not None:
        acceptance.check_project_keys()
        principal = acceptance.principal_of(project)
    elif user is None and client is not None:
        principal = ClientUser(client)
    found = Access(
        kind=data["kind"],
        credential_id=data["id"],
        name=data["name"],
        scope=data["scope"],
        user=user,
        project=project,
        client=client,
        key=data["key"],
        issuer=data.get("issuer", ""),
        external_claims=None if external is None else frozen(external),
        expires_at=moments.parse(data["expires_at"]) if data["expires_at"] else None,
        upstream=data["upstream"],
        is_for_some_resources=data["is_for_some_resources"],
        principal=principal,
        stored_metadata=data.get("metadata"),
        selected=None if data["projects"] is None else partial(_both, data["projects"], None),
    )
    restrictions.put(found, restrictions.from_json(data["restrictions"]))
    _sign(found, data)
    return found


def _sign(found: Access, data: Mapping[str, Any]) -> None:
    found.signed = data["signed"]
    found.authorized_by = _find(get_user_model(), data["authorized_by"], refusals.INACTIVE_USER)


def _find(model: Any, pk: Any, refusal: refusals.Refusal) -> Any:
    """Return the active row, or ``None`` without ``pk``. Raise ``Refused`` if no row is active."""
    if pk is None:
        return None
    row = model._default_manager.using(router.db_for_write(model)).filter(pk=pk).first()
    if row is None or not is_active(row):
        raise Refused(refusal)
    return row


def _both(pks: list[Any], selected: Callable[[], QuerySet[Any, Any]] | None) -> QuerySet[Any, Any]:
    """Return the projects in ``pks`` that the credential still selects."""
    projects: QuerySet[Any, Any] = get_project_model()._default_manager.filter(pk__in=pks)
    if selected is not None:
        projects = projects.filter(pk__in=selected())
    rows: QuerySet[Any, Any] = projects.values("pk")
    return rows


def start() -> None:
    """Connect ``Access.from_dict``. Called when Django is ready."""
    access.restore_by(restore)
