"""One credential that reaches a project, and its facts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from .. import scopes
from ..decisions import OAUTH, PERSONAL_ACCESS_TOKEN, PROJECT_KEY
from ..keys.facts import Fact
from ..models import EndedUse, ProjectAccess, State

#: The kind of a project key that a workload uses. Decisions name it ``project_key``.
WORKLOAD: Final = "workload"

KINDS: Final = {
    PERSONAL_ACCESS_TOKEN: _("personal access token"),
    OAUTH: _("application"),
    PROJECT_KEY: _("project key"),
    WORKLOAD: _("workload"),
}


@dataclass(slots=True)
class Entry:
    """A credential that reaches a project. It never has a secret or the name of another project."""

    kind: str
    id: str
    name: str
    #: The scopes as granted, separated by spaces.
    scope: str
    #: The primary key of the user; ``None`` for a key of the project.
    user_pk: Any = None
    #: The username.
    user: str | None = None
    #: The client ID of an application, and its primary key.
    client: str | None = None
    client_pk: Any = None
    #: When the user authorized the application; ``None`` for a key.
    authorized_at: datetime | None = None
    #: The last use in this project.
    last_used_at: datetime | None = None
    #: The last request of a user's credential that was not checked in one project, such as one
    #: for a list over all projects. It may have read this project.
    last_used_across_at: datetime | None = None
    expires_at: datetime | None = None
    state: str = State.LIVE.value
    decision: ProjectAccess | None = None
    #: The refused uses of a token that is denied in this project.
    denied_use: EndedUse | None = None
    #: Whether it reaches the project only once someone approves it.
    awaits: bool = False
    #: Whether a rotation replaced it. Both work until this one expires.
    is_rotated: bool = False
    #: The scopes that it has in this project today. ``sources.fill`` sets them.
    scopes: list[str] = field(default_factory=list)

    @property
    def decided_as(self) -> str:
        """The kind stored in ``ProjectAccess``."""
        return PROJECT_KEY if self.kind == WORKLOAD else self.kind

    @property
    def used_at(self) -> datetime | None:
        """The last use that was or may have been in this project."""
        return max(filter(None, (self.last_used_at, self.last_used_across_at)), default=None)

    @property
    def is_denied(self) -> bool:
        """Whether somebody denied it in this project."""
        return self.decision is not None and self.decision.is_denied

    @property
    def is_rejected(self) -> bool:
        """Whether the denial was the answer to a request for approval."""
        return self.is_denied and self.decision is not None and self.decision.is_rejected

    @property
    def is_request(self) -> bool:
        """Whether to let it reach the project is to approve a request."""
        return self.awaits or self.is_rejected

    @property
    def kind_label(self) -> Any:
        """The words for its kind."""
        return KINDS[self.kind]


def state_of(is_pending: bool, paused_at: datetime | None) -> str:
    """Return the state of a key that has not ended."""
    if is_pending:
        return State.PENDING.value
    return State.LIVE.value if paused_at is None else State.PAUSED.value


def effective(scope: str, allowed: frozenset[str]) -> list[str]:
    """Return the scopes in ``scope`` that are ``allowed``, without implied scopes, sorted."""
    return list(scopes.split(scopes.narrow(scope, " ".join(allowed))))


def _of_denial(name: str) -> Any:
    def value(entry: Entry) -> Any:
        return getattr(entry.decision, name) if entry.is_denied else None

    return value


def _denier(entry: Entry) -> str | None:
    decision = entry.decision
    return decision.by.get_username() if decision and decision.is_denied and decision.by else None


#: The facts of an entry, in the order of JSON and of exports.
FACTS: Final = (
    Fact("kind", str, lambda each: each.kind, example=PERSONAL_ACCESS_TOKEN),
    Fact(
        "id",
        str,
        lambda each: each.id,
        about="The ID of the key. For an application, an ID derived from its client and its user.",
        example="7k2m4q0x9c1v8b3n",
    ),
    Fact("name", str, lambda each: each.name, example="laptop"),
    Fact("user", str, lambda each: each.user, optional=True, example="ada"),
    Fact("client", str, lambda each: each.client, optional=True, about="The client ID."),
    Fact(
        "scopes",
        list[str],
        lambda each: each.scopes,
        about="Its scopes in this project today.",
        example=["payments:read"],
    ),
    Fact(
        "last_used_at",
        datetime,
        lambda each: each.last_used_at,
        optional=True,
        about="The last use in this project.",
    ),
    Fact(
        "last_used_across_at",
        datetime,
        lambda each: each.last_used_across_at,
        optional=True,
        about="The last request of a user's credential that was not checked in one project, such "
        "as one for a list over all projects.",
    ),
    Fact("expires_at", datetime, lambda each: each.expires_at, optional=True),
    Fact("state", State, lambda each: each.state, example="live"),
    Fact("denied", bool, lambda each: each.is_denied, example=False),
    Fact("denied_at", datetime, _of_denial("at"), optional=True),
    Fact("denied_by", str, _denier, optional=True),
    Fact("denied_reason", str, _of_denial("reason"), optional=True),
    Fact(
        "uses_after_denial",
        int,
        lambda each: each.denied_use.count if each.denied_use else 0,
        about="How many requests with a denied token were refused in this project.",
        example=0,
    ),
    Fact(
        "last_used_after_denial_at",
        datetime,
        lambda each: each.denied_use.last_used_at if each.denied_use else None,
        optional=True,
        about="The last of these requests.",
    ),
    Fact(
        "awaits_approval",
        bool,
        lambda each: each.awaits,
        about="Whether the token waits until someone approves it in the project.",
        example=False,
    ),
)
FIELDS: Final = tuple(fact.name for fact in FACTS)


def record(entry: Entry) -> Mapping[str, Any]:
    """Return the facts of ``entry``, ready for JSON."""
    return {fact.name: fact.json(entry) for fact in FACTS}
