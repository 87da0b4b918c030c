"""Limits on what a caller may grant to a key. Forms offer them and ``lifecycle`` enforces them.

A user grants what the policy allows the user to grant. A credential grants no more than it
has: a key that is created or edited with a key never gets more scopes, projects or lifetime.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from . import restrictions, scopes
from .access import Access
from .databases.primary import reading_primary
from .models import PersonalAccessToken, ProjectKey
from .policy import get_policy
from .restrictions import EMPTY, RESTRICTIONS
from .restrictions.base import Restriction
from .workloads import rules
from .workloads.rules import Trust

__all__ = ["Grant", "for_project", "for_tokens"]


@dataclass(frozen=True, slots=True)
class Extent:
    """The scopes, projects, lifetime and restrictions of a key."""

    scope: str
    #: The selected projects; ``None`` for all projects of the user, including future ones.
    projects: frozenset[Any] | None
    #: ``None`` for no expiry.
    expires_at: datetime | None
    #: The values that a key stores, in the order of ``RESTRICTIONS``.
    restrictions: tuple[Any, ...] = EMPTY
    #: The workload that may use the key; ``None`` for a key with another proof.
    trust: Trust | None = None

    @classmethod
    def of(cls, key: PersonalAccessToken | ProjectKey) -> "Extent":
        """Return the extent of a stored key."""
        reach = key.reach()
        projects = None if reach is None else frozenset(reach)
        trust = rules.read(key.trust)
        return cls(key.scope, projects, key.expires_at, restrictions.of(key), trust)

    def restricted(self, asked: Mapping[str, Any]) -> "Extent":
        """Return this extent with the restrictions in ``asked``. Raise ``LifecycleError``."""
        return replace(self, restrictions=restrictions.parsed(asked, self.restrictions))

    def wider(self, than: "Extent") -> bool:
        """Return whether this extent allows anything that ``than`` does not."""
        return bool(
            self.scopes_beyond(than)
            or self.projects_beyond(than) != frozenset()
            or self.lives_beyond(than)
            or self.trusts_beyond(than)
            or self.beyond(than.restrictions)
        )

    def scopes_beyond(self, other: "Extent") -> list[str]:
        """Return the scopes that ``other`` does not have."""
        return sorted(set(self.scope.split()) - scopes.expand(other.scope))

    def projects_beyond(self, other: "Extent") -> frozenset[Any] | None:
        """Return the projects that ``other`` does not have; ``None`` for all projects."""
        if other.projects is None:
            return frozenset()
        return None if self.projects is None else self.projects - other.projects

    def trusts_beyond(self, other: "Extent") -> bool:
        """Return whether workloads may use this key that may not use ``other``."""
        if self.trust is None or self.trust == other.trust:
            return False
        return other.trust is None or not other.trust.covers(self.trust)

    def lives_beyond(self, other: "Extent") -> bool:
        """Return whether this extent ends later than ``other``."""
        if other is NOTHING:
            return True
        if other.expires_at is None:
            return False
        return self.expires_at is None or self.expires_at > other.expires_at

    def beyond(self, bounds: tuple[Any, ...]) -> list[tuple[Restriction, Any]]:
        """Return the restrictions that allow more than ``bounds``, each with its bound."""
        values = zip(RESTRICTIONS, bounds, self.restrictions, strict=True)
        return [(each, bound) for each, bound, value in values if not each.covers(bound, value)]


#: The extent of a key that does not exist yet.
NOTHING = Extent("", frozenset(), datetime.min)  # noqa: DTZ901 - never compared


@dataclass(frozen=True, slots=True)
class Grant:
    """Limits for a key that a caller creates, edits or rotates."""

    #: All scopes that may be granted, including implied ones.
    scopes: frozenset[str]
    #: The projects that may be selected.
    projects: QuerySet[Any]
    #: Whether a personal access token may be granted all projects of its user.
    all_projects: bool = True
    #: The credential of the caller; ``None`` for a session.
    using: Access | None = None

    @property
    def latest_expiry(self) -> datetime | None:
        """The latest allowed expiry of the key; ``None`` for no limit."""
        return self.using.expires_at if self.using else None


@reading_primary()
def for_tokens(user: Any, using: Access | None = None) -> Grant:
    """Return what may be granted to a personal access token of ``user``.

    ``using`` is the credential of the caller; ``None`` for a session of ``user``.
    """
    policy = get_policy()
    grantable = policy.grantable(user)
    if using is None:
        return Grant(grantable, policy.projects(user))
    if using.user != user:  # a project key has no user
        return Grant(frozenset(), policy.active_projects().none(), False, using)
    return Grant(grantable & using.scopes, using.projects(), using.selected is None, using)


@reading_primary()
def for_project(project: Any, user: Any = None, using: Access | None = None) -> Grant:
    """Return what may be granted to a key of ``project``, by ``user`` or with ``using``."""
    policy = get_policy()
    if using is None:
        grantable = policy.grantable(user, project)
    elif not using.allows(project=project):
        grantable = frozenset()
    elif using.project is not None:
        grantable = frozenset(s for s in using.scopes if policy.project_allows(project, [s]))
    else:
        grantable = policy.grantable(using.user, project) & using.scopes
    projects = policy.active_projects() if using is None else using.projects()
    return Grant(grantable, projects.filter(pk=project.pk), using=using)
