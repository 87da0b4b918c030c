"""The personal access tokens that are pending approval in the projects of a user."""

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from django.db.models import Exists, IntegerField, QuerySet, Value

from ..conf import slug_field, slug_of
from ..databases.primary import reading_primary
from ..keys import facts
from ..models import Membership, PersonalAccessToken, ProjectRules
from ..policy import Policy, get_policy, overrides, scopes_in_projects
from . import sources
from .entries import effective

_MOST_LISTED: Final = 1000  # projects to look for a token that is pending approval
_MOST_ASKED: Final = 200  # projects to ask the policy of the site about
_TOGETHER: Final = 100  # projects in one query

#: The methods of the policy that say who may approve tokens in a project.
_DECIDING: Final = (
    "roles",
    "projects",
    "may_see_keys",
    "may_manage_keys",
    "may_see_access",
    "may_deny",
)


class Request(NamedTuple):
    """A token of a member that reaches ``project`` only once someone approves it there."""

    project: Any
    key: PersonalAccessToken


class Deciding(NamedTuple):
    """The projects in which a user may approve tokens, and whether others were left out."""

    projects: list[Any]
    is_cut: bool = False


@reading_primary()
def deciding(user: Any, slugs: Collection[str] | None = None) -> Deciding:
    """Return the projects that require approval and in which ``user`` may approve tokens.

    With ``slugs``, return only the projects with these slugs. Takes one query. A policy that
    decides itself checks each of these projects. Without ``slugs``, it checks up to 200 projects
    in which a token is pending approval.
    """
    policy = get_policy()
    requiring = rules_requiring_approval()
    if not overrides(policy, *_DECIDING):
        managed = Membership.objects.filter(user=user, role__in=policy.managing_roles)
        found = _named(policy.active_projects(), requiring, slugs)
        return Deciding(list(found.filter(pk__in=managed.values("project"))))
    if not requiring.exists():
        return Deciding([])
    listed = list(_named(policy.projects(user), requiring, slugs)[: _MOST_LISTED + 1])
    # A project that the user may not see must not take the place of one that the user decides in.
    waiting = iter(listed) if slugs is not None else _waiting(listed[:_MOST_LISTED])
    asked = list(islice(waiting, _MOST_ASKED))
    is_cut = len(listed) > _MOST_LISTED or next(waiting, None) is not None
    return Deciding([project for project in asked if _may_decide(policy, user, project)], is_cut)


def rules_requiring_approval() -> QuerySet[Any]:
    """Return the rules of the projects in which tokens need approval."""
    # SQLite uses no index for a bare boolean, so the condition is a list of one value.
    return ProjectRules.objects.filter(approves_tokens__in=[True])


def _named(
    projects: QuerySet[Any], requiring: QuerySet[Any], slugs: Collection[str] | None
) -> QuerySet[Any]:
    """Return which of ``projects`` require approval, by their slugs."""
    found = projects.filter(pk__in=requiring.values("project")).order_by(slug_field())
    return found if slugs is None else found.filter(**{f"{slug_field()}__in": list(slugs)})


def _waiting(projects: Collection[Any]) -> Iterator[Any]:
    """Yield the projects in which a token is pending approval. One query for each 100."""
    for some in _parts(projects):
        parts = []
        for place, project in enumerate(some):
            rules = ProjectRules.objects.filter(Exists(sources.undecided(project)), pk=project.pk)
            rules = rules.annotate(place=Value(place, IntegerField()))
            parts.append(rules.values_list("place", flat=True))
        yield from (some[place] for place in sorted(_together(parts)))


def _may_decide(policy: Policy, user: Any, project: Any) -> bool:
    """Return whether the policy lets ``user`` see the tokens of members, and decide about them."""
    return (
        policy.may_see_keys(user, project)
        and policy.may_see_access(user, project)
        and policy.may_deny(user, project)
    )


@reading_primary()
def effective_scopes(found: Collection[Request]) -> dict[tuple[Any, Any], list[str]]:
    """Return the scopes that each token has in its project, by both primary keys. One query.

    The page *Access* shows the same scopes. A policy that overrides how they are found finds them
    for each project.
    """
    members = [(each.project, each.key.user) for each in found]
    allowed = scopes_in_projects(get_policy(), members) if members else {}
    return {
        (project.pk, key.pk): effective(
            key.scope, allowed.get((project.pk, key.user_id), frozenset())
        )
        for project, key in found
    }


@reading_primary()
def number(projects: Collection[Any], most: int) -> int:
    """Return how many tokens are pending approval in ``projects``, up to ``most``.

    Takes one query for each 100 projects.
    """
    found = 0
    for some in _parts(projects):
        if found < most:
            found += _union(some).order_by()[: most - found].count()
    return found


@reading_primary()
def pending(
    projects: Collection[Any], most: int, among: Collection[tuple[str, str]] | None = None
) -> list[Request]:
    """Return the first requests in ``projects``, by when the token was created.

    ``among`` are slugs of projects with IDs of tokens, to return only these. The number of
    queries depends only on the number of hundreds of projects.
    """
    if among is not None:
        slugs = {slug for slug, _public_id in among}
        projects = [project for project in projects if slug_of(project) in slugs]
    ids = None if among is None else {public_id for _slug, public_id in among}
    rows: list[tuple[Any, Any, Any]] = []
    for some in _parts(projects):
        found = _union(some, ids).order_by("created_at", "pk")
        found = found if among is not None else found[:most]
        rows += [(at, pk, some[place]) for at, pk, place in found]
    rows.sort(key=lambda row: row[:2])
    keys = facts.with_facts(PersonalAccessToken).in_bulk({pk for _at, pk, _project in rows})
    requests = [Request(project, keys[pk]) for _at, pk, project in rows if pk in keys]
    if among is not None:
        requests = [
            each for each in requests if (slug_of(each.project), each.key.public_id) in among
        ]
    return requests[:most]


def _parts(projects: Collection[Any]) -> Iterator[list[Any]]:
    remaining = iter(projects)
    while some := list(islice(remaining, _TOGETHER)):
        yield some


def _union(projects: list[Any], ids: Collection[str] | None = None) -> QuerySet[Any]:
    """Return when each token was created, its primary key, and the place of its project."""
    parts = []
    for place, project in enumerate(projects):
        rows = sources.undecided(project).order_by()
        if ids is not None:
            rows = rows.filter(public_id__in=ids)
        rows = rows.annotate(place=Value(place, IntegerField()))
        parts.append(rows.values_list("created_at", "pk", "place"))
    return _together(parts)


def _together(parts: list[QuerySet[Any]]) -> QuerySet[Any]:
    first, *others = parts
    union: QuerySet[Any] = first.union(*others, all=True) if others else first
    return union
