"""The most that somebody may hand on to a key: what forms offer, and ``lifecycle`` enforces.

A person grants what the policy lets that person grant. A credential grants no more than it
has: a key that is managed with a key never gains scopes, projects or lifetime.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet

from . import networks, scopes
from .access import Access
from .conf import app_settings
from .models import PersonalAccessToken, ProjectKey

__all__ = ["Grant", "for_project", "for_tokens"]


@dataclass(frozen=True, slots=True)
class Extent:
    """What a key reaches: the most that it may be used for, and how long."""

    scope: str
    #: ``None``: all that the key's user is in, now and later.
    projects: frozenset[Any] | None
    #: ``None``: without expiry.
    expires_at: datetime | None
    #: CIDRs, as a key stores them; empty: anywhere.
    networks: str = ""
    #: Rates, as a key stores them; empty: as often as they like.
    rates: str = ""
    #: Whether requests take it, or only the token endpoint.
    direct: bool = True

    @classmethod
    def of(cls, key: PersonalAccessToken | ProjectKey) -> "Extent":
        if isinstance(key, ProjectKey):
            projects: frozenset[Any] | None = frozenset([key.project])
        else:
            projects = None if key.all_projects else frozenset(key.projects.all())
        bounds = key.allowed_networks, key.rate_limits, key.direct_use
        return cls(key.scope, projects, key.expires_at, *bounds)

    def wider(self, than: "Extent") -> bool:
        """Whether this reaches anything that ``than`` does not."""
        return bool(
            self.scopes_beyond(than)
            or self.projects_beyond(than) != frozenset()
            or self.lives_beyond(than)
            or self.networks_beyond(than)
            or self.rates_beyond(than)
            or (self.direct and not than.direct)
        )

    def scopes_beyond(self, other: "Extent") -> list[str]:
        return sorted(set(self.scope.split()) - scopes.expand(other.scope))

    def projects_beyond(self, other: "Extent") -> frozenset[Any] | None:
        """``None``: all of them, where the other has only some."""
        if other.projects is None:
            return frozenset()
        return None if self.projects is None else self.projects - other.projects

    def lives_beyond(self, other: "Extent") -> bool:
        if other is NOTHING:
            return True
        if other.expires_at is None:
            return False
        return self.expires_at is None or self.expires_at > other.expires_at

    def networks_beyond(self, other: "Extent") -> bool:
        if not other.networks:
            return False
        bounds = networks.parse_all(other.networks)
        own = networks.parse_all(self.networks)
        return not own or not all(networks.is_within(each, bounds) for each in own)

    def rates_beyond(self, other: "Extent") -> bool:
        return not set(other.rates.split()).issubset(self.rates.split())


#: What a key that does not exist yet reaches.
NOTHING = Extent("", frozenset(), datetime.min.replace(tzinfo=UTC), direct=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """Bounds of a key that somebody makes, widens or rotates."""

    #: All scopes that may be given, implied ones included.
    scopes: frozenset[str]
    #: The projects that may be selected.
    projects: QuerySet[Any]
    #: Whether a personal access token may reach all projects of its user.
    all_projects: bool = True
    #: The credential that all this is done with; ``None`` for a session.
    using: Access | None = None

    @property
    def latest_expiry(self) -> datetime | None:
        """When the key has to end; ``None`` if the credential sets no bound."""
        return self.using.expires_at if self.using else None


def for_tokens(user: Any, using: Access | None = None) -> Grant:
    """What ``user`` may give to a personal access token of their own."""
    policy = app_settings.POLICY
    grantable = policy.grantable(user)
    if using is None:
        return Grant(grantable, policy.projects(user))
    if using.user != user:  # a project key has no user
        return Grant(frozenset(), policy.active_projects().none(), False, using)
    return Grant(grantable & using.scopes, using.projects(), using.selected is None, using)


def for_project(project: Any, user: Any = None, using: Access | None = None) -> Grant:
    """What may be given to a key of ``project``, by ``user`` or by a key of that project."""
    policy = app_settings.POLICY
    if using is None:
        grantable = policy.grantable(user, project)
    elif not using.allows(project=project):
        grantable = frozenset()
    elif using.project is not None:
        grantable = frozenset(s for s in using.scopes if policy.project_allows(project, [s]))
    else:
        grantable = policy.grantable(using.user, project) & using.scopes
    return Grant(grantable, policy.active_projects().filter(pk=project.pk), using=using)
