"""The facts of a key, each declared once. The secret and its hash are never among them.

The JSON API and its schema, the audit log, and the lists of the settings pages, the admin and
the commands all read ``FACTS``.
"""

import json
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, cast

from django.db.models import OuterRef, Prefetch, QuerySet, Subquery
from django.utils.translation import gettext_lazy as _

from .. import moments, token
from ..conf import slug_of
from ..databases.primary import reading_primary
from ..models import KEY_MODELS, AnyKey, PersonalAccessToken, ProjectKey, State
from ..models.texts import TEXTS, about
from ..restrictions import CARRIED, RESTRICTIONS
from ..restrictions.base import Restriction

#: The models by ``kind``.
KINDS: Final = {token.KIND_NAMES[kind]: model for kind, model in KEY_MODELS.items()}

_COMMON = ("approved_by", "paused_by", "revoked_by", "replaces", "legacy")
_RELATED = {PersonalAccessToken: _COMMON, ProjectKey: ("created_by", *_COMMON)}
#: Fetched in separate queries. If there are few owners, a planner would start a join with them,
#: and then sort all keys for one page.
_LOOKED_UP = {PersonalAccessToken: ("user", "projects"), ProjectKey: ("project",)}


def with_facts(model: type[AnyKey]) -> QuerySet[Any]:
    """Return keys with everything that ``record`` reads, in two or three queries."""
    keys = model._default_manager.select_related(*_RELATED[model])
    owner, *others = _LOOKED_UP[model]
    # Not with the managers of the owner's model: they may hide the owner.
    owners: QuerySet[Any] = QuerySet(model._meta.get_field(owner).related_model)
    return with_successors(keys).prefetch_related(Prefetch(owner, owners), *others)


def with_successors(keys: QuerySet[Any]) -> QuerySet[Any]:
    """Return keys annotated with ``successor_id``.

    A subquery finds the successor of each key. The column is mostly null, so planners
    misjudge a join of the table with itself, and also a lookup of several values.
    """
    successors = keys.model._default_manager.filter(replaces=OuterRef("pk")).order_by()
    annotated: QuerySet[Any] = keys.annotate(
        successor_id=Subquery(successors.values("public_id")[:1])
    )
    return annotated


def successor_id(key: AnyKey) -> str | None:
    """Return the ID of the key that replaced ``key``, if any."""
    if "successor_id" in key.__dict__:
        return cast("str | None", key.__dict__["successor_id"])
    return key.successor.public_id if key.successor else None


def _never(key: Any) -> bool:
    return False


def _always(key: Any) -> bool:
    return True


@dataclass(frozen=True)
class Fact:
    """One fact of a key or of an audit event: how to read it and how to show it."""

    #: The name of the JSON field.
    name: str
    #: The Python type: ``str``, ``bool``, ``datetime``, ``list[str]`` or an enumeration.
    type: Any
    #: Return the value for a key. Only an ``optional`` fact may return ``None``.
    of: Callable[[Any], Any]
    _: KW_ONLY
    optional: bool = False
    #: The heading of its column, and the text of a cell without a value.
    label: Any = ""
    absent: Any = ""
    #: A value that commands do not show to people, because almost every key has it.
    usual: Any = None
    #: The description and the example in the OpenAPI schema.
    about: str = ""
    example: Any = None
    #: Whether the audit event of a new key includes it.
    audited: Callable[[Any], bool] = _never

    def json(self, of: Any) -> Any:
        """Return the value for a key or an event, ready for JSON."""
        value = self.of(of)
        return moments.iso(value) if isinstance(value, datetime) else value

    def shown(self, key: AnyKey) -> Any:
        """Return the value for ``key`` in a table cell: text or a ``datetime``."""
        value = self.of(key)
        if value is None:
            return self.absent
        return ", ".join(value) if isinstance(value, list) else value


def _is_token(key: AnyKey) -> bool:
    return key.KIND == token.PAT


def _username(user: Any) -> str | None:
    return user.get_username() if user else None


def _reach(key: AnyKey) -> list[str] | None:
    reach = key.reach()
    return None if reach is None else sorted(slug_of(project) for project in reach)


def _restriction(each: Restriction) -> Fact:
    return Fact(
        each.name,
        each.json.type,
        lambda key: each.as_json(getattr(key, each.name)),
        optional=each.json.optional,
        usual=each.empty if each.json.type is bool else None,
        about=each.json.about,
        example=each.as_json(each.empty),
        audited=_always,
    )


def _text(column: Any) -> Fact:
    return Fact(
        column.name,
        str,
        attrgetter(column.name),
        label=column.verbose_name,
        about=about(column),
        example="Runs every night." if column.blank else "laptop",
        # Every event already stores the name.
        audited=lambda key: column.blank and bool(getattr(key, column.name)),
    )


#: The facts of a key, in the order of the JSON fields.
FACTS: Final = (
    Fact(
        "kind",
        str,
        lambda key: token.KIND_NAMES[key.KIND],
        about=" or ".join(f"`{kind}`" for kind in KINDS) + ".",
        example=token.KIND_NAMES[token.PAT],
    ),
    Fact(
        "id",
        str,
        lambda key: key.public_id,
        label=_("ID"),
        about="The public ID.",
        example="7k2m4q0x9c1v8b3n",
    ),
    *map(_text, TEXTS.values()),
    Fact(
        "user",
        str,
        lambda key: _username(key.user) if _is_token(key) else None,
        optional=True,
        about="The user of a personal access token.",
        example="ada",
    ),
    Fact(
        "project",
        str,
        lambda key: None if _is_token(key) else slug_of(key.project),
        optional=True,
        about="The project of a project key.",
    ),
    Fact(
        "scopes",
        list[str],
        lambda key: list(key.scopes),
        label=_("scopes"),
        example=["payments:read"],
        audited=_always,
    ),
    Fact(
        "projects",
        list[str],
        _reach,
        optional=True,
        label=_("projects"),
        absent=_("all"),
        about="The slugs of the projects. Null for all current and future projects of the user.",
        example=["analytical-engine"],
        audited=_is_token,
    ),
    *map(_restriction, CARRIED),
    Fact(
        "expires_at",
        datetime,
        lambda key: key.ends_at(),
        optional=True,
        label=_("expires"),
        absent=_("never"),
        example="2030-01-31T12:00:00+00:00",
        audited=_always,
    ),
    *(_restriction(each) for each in RESTRICTIONS if each not in CARRIED),
    Fact(
        "public_key",
        str,
        lambda key: key.public_key or None,
        optional=True,
        about="The public key as PEM, if the key signs requests. Null for a key with a secret.",
        audited=lambda key: bool(key.public_key),
    ),
    Fact(
        "trust",
        dict,
        lambda key: json.loads(key.trust) if key.trust else None,
        optional=True,
        about="The issuer, audience and claims of the workload that may use the key. Null for a "
        "key with a secret.",
        audited=lambda key: bool(key.trust),
    ),
    Fact(
        "secret_ends_at",
        datetime,
        lambda key: key.secret_ends_at,
        optional=True,
        about="When the secret stops working, if the key was converted to trust a workload.",
    ),
    Fact(
        "metadata",
        dict,
        lambda key: key.metadata,
        label=_("metadata"),
        usual={},
        about="A JSON object that the owner or your code stores with the key.",
        example={"team": "billing"},
        audited=lambda key: bool(key.metadata),
    ),
    Fact("state", State, lambda key: key.state().value, label=_("state"), example="live"),
    Fact(
        "created_at",
        datetime,
        lambda key: key.created_at,
        label=_("created"),
        example="2030-01-01T12:00:00+00:00",
    ),
    Fact(
        "created_by",
        str,
        lambda key: _username(key.user if _is_token(key) else key.created_by),
        optional=True,
        label=_("created by"),
        example="ada",
    ),
    Fact(
        "last_used_at",
        datetime,
        lambda key: key.last_used_at,
        optional=True,
        label=_("last used"),
        absent=_("never"),
    ),
    Fact("last_used_ip", str, lambda key: key.last_used_ip, optional=True),
    Fact(
        "minted_with",
        str,
        lambda key: key.minted_with or None,
        optional=True,
        about="The credential that created the key over the API. If it is revoked, so is the key.",
    ),
    Fact(
        "legacy",
        str,
        lambda key: key.former.scheme if key.former else None,
        optional=True,
        about="The package that created an imported key, such as `knox`.",
    ),
    Fact("approved_at", datetime, lambda key: key.approved_at, optional=True),
    Fact("approved_by", str, lambda key: _username(key.approved_by), optional=True),
    Fact(
        "rejected",
        bool,
        lambda key: key.is_rejected,
        usual=False,
        about="Whether the key was revoked instead of approved, so it never worked.",
        example=False,
    ),
    Fact("rotated_at", datetime, lambda key: key.rotated_at, optional=True),
    Fact(
        "replaces",
        str,
        lambda key: key.replaces.public_id if key.replaces else None,
        optional=True,
        about="The ID of the key that this key replaced, in a rotation or after its end.",
    ),
    Fact(
        "replaced_by",
        str,
        successor_id,
        optional=True,
        about="The ID of the key that replaced this key, in a rotation or after its end.",
    ),
    Fact(
        "paused_at",
        datetime,
        lambda key: key.paused_at,
        optional=True,
        about="When the key was paused. Null once it is resumed.",
    ),
    Fact("paused_by", str, lambda key: _username(key.paused_by), optional=True),
    Fact("paused_reason", str, lambda key: key.paused_reason or None, optional=True),
    Fact(
        "held",
        bool,
        lambda key: key.is_held,
        usual=False,
        about="Whether only a site admin can resume the key.",
        example=False,
    ),
    Fact("revoked_at", datetime, lambda key: key.revoked_at, optional=True, label=_("revoked")),
    Fact("revoked_by", str, lambda key: _username(key.revoked_by), optional=True),
    Fact("revoked_reason", str, lambda key: key.revoked_reason or None, optional=True),
)
BY_NAME: Final = {fact.name: fact for fact in FACTS}

#: The facts that are columns of each list of keys, in order. ``owner`` is the user or project.
COLUMNS_OF_COMMAND: Final = (
    "id", "kind", "name", "owner", "projects", "scopes", "expires_at", "last_used_at", "state",
)  # fmt: skip
#: The ID and the scopes stand below the name, and the creator below the time of creation, so that
#: all columns fit beside the filters.
_COLUMNS_OF_ADMIN = ("name", "state", "owner", "expires_at", "last_used_at", "created_at")
COLUMNS_OF_ADMIN: Final = dict.fromkeys(KEY_MODELS, _COLUMNS_OF_ADMIN)
#: Beside the name, the scopes and the state of a key.
COLUMNS_OF_PAGES: Final = {
    token.PAT: ("id", "projects", "expires_at", "last_used_at"),
    token.KEY: ("id", "created_by", "expires_at", "last_used_at"),
}
COLUMNS_OF_APPROVALS: Final = ("id", "created_by", "projects", "expires_at", "created_at")


@reading_primary()
def record(key: AnyKey) -> dict[str, Any]:
    """Return the facts of ``key``, ready for JSON: ``Access.facts()`` and the key's history.

    ``projects`` is ``None`` for a personal access token with access to all projects of its user.
    """
    return {fact.name: fact.json(key) for fact in FACTS}
