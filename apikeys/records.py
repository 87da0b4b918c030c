"""A key as the facts that may be told of it: never its secret, nor a hash of it."""

from datetime import datetime
from typing import Any, Final, cast

from django.db.models import OuterRef, QuerySet, Subquery

from .access import PERSONAL_ACCESS_TOKEN, PROJECT_KEY
from .models import PersonalAccessToken, ProjectKey

AnyKey = PersonalAccessToken | ProjectKey

#: The models by ``kind``.
KINDS: Final[dict[str, type[AnyKey]]] = {
    PERSONAL_ACCESS_TOKEN: PersonalAccessToken,
    PROJECT_KEY: ProjectKey,
}

_COMMON = ("approved_by", "revoked_by", "replaces", "legacy")
_RELATED = {PersonalAccessToken: _COMMON, ProjectKey: ("created_by", *_COMMON)}
#: Not joined: where owners are few, planners begin with them, and sort all keys for a page.
_LOOKED_UP = {PersonalAccessToken: ("user", "projects"), ProjectKey: ("project",)}


def with_facts(model: type[AnyKey]) -> QuerySet[Any]:
    """Keys with all that ``record`` reads: two or three queries for any number of them."""
    keys = model._default_manager.select_related(*_RELATED[model])
    return with_successors(keys).prefetch_related(*_LOOKED_UP[model])


def with_successors(keys: QuerySet[Any]) -> QuerySet[Any]:
    """Keys with what ``successor_id`` tells.

    Each is looked up by itself: the column is mostly null, which leads planners astray that
    join the table to itself by it, or look for some of its values.
    """
    successors = keys.model._default_manager.filter(replaces=OuterRef("pk")).order_by()
    annotated: QuerySet[Any] = keys.annotate(
        successor_id=Subquery(successors.values("public_id")[:1])
    )
    return annotated


def successor_id(key: AnyKey) -> str | None:
    """The public id of the key that ``key`` was rotated into."""
    if "successor_id" in key.__dict__:
        return cast("str | None", key.__dict__["successor_id"])
    return key.successor.public_id if key.successor else None


def record(key: AnyKey) -> dict[str, Any]:
    """The facts of ``key``, ready for JSON: the fields of ``Access.facts()``, and its life.

    ``projects`` is ``None`` where a personal access token reaches all that its user is in.
    """
    created_by: Any
    if isinstance(key, PersonalAccessToken):
        kind, project, created_by = PERSONAL_ACCESS_TOKEN, None, key.user
        projects = None if key.all_projects else sorted(p.slug for p in key.projects.all())
    else:
        kind, project, created_by = PROJECT_KEY, key.project.slug, key.created_by
        projects = [project]
    return {
        "kind": kind,
        "id": key.public_id,
        "name": key.name,
        "user": _username(key.user) if isinstance(key, PersonalAccessToken) else None,
        "project": project,
        "scopes": list(key.scopes),
        "projects": projects,
        "allowed_networks": key.allowed_networks.split(),
        "rate_limits": key.rate_limits.split(),
        "expires_at": _iso(key.expires_at),
        "direct_use": key.direct_use,
        "public_key": (isinstance(key, ProjectKey) and key.public_key) or None,
        "state": key.state().value,
        "created_at": _iso(key.created_at),
        "created_by": _username(created_by),
        "last_used_at": _iso(key.last_used_at),
        "last_used_ip": key.last_used_ip,
        "minted_with": key.minted_with or None,
        "legacy": key.former.scheme if key.former else None,
        "approved_at": _iso(key.approved_at),
        "approved_by": _username(key.approved_by),
        "rotated_at": _iso(key.rotated_at),
        "replaces": key.replaces.public_id if key.replaces else None,
        "replaced_by": successor_id(key),
        "revoked_at": _iso(key.revoked_at),
        "revoked_by": _username(key.revoked_by),
        "revoked_reason": key.revoked_reason or None,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _username(user: Any) -> str | None:
    return user.get_username() if user else None
