"""The personal access tokens that are pending approval in the projects of a user."""

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from django.db.models import IntegerField, QuerySet, Value

from ..conf import slug_field, slug_of
from ..databases.primary import reading_primary
from ..keys import facts
from ..models import Membership, PersonalAccessToken, ProjectRules
from ..policy import Policy, get_policy
from . import sources

_MOST_PROJECTS: Final = 50  # to ask the policy of the site about
_TOGETHER: Final = 100  # projects in one query


class Request(NamedTuple):
    """A token of a member that reaches ``project`` only once someone approves it there."""

    project: Any
    key: PersonalAccessToken


@reading_primary()
def deciding(user: Any) -> list[Any]:
    """Return the projects that require approval and in which ``user`` may approve tokens.

    Takes one query. If the policy of the site decides itself, it is asked about up to 50 projects.
    """
    policy = get_policy()
    requiring = ProjectRules.objects.filter(approves_tokens=True).values("project")
    if asks_policy(policy):
        projects = policy.projects(user).filter(pk__in=requiring).order_by(slug_field())
        return [
            project
            for project in islice(projects, _MOST_PROJECTS)
            if policy.may_see_keys(user, project) and policy.may_deny(user, project)
        ]
    managed = Membership.objects.filter(user=user, role__in=policy.managing_roles)
    found = policy.active_projects().filter(pk__in=requiring)
    return list(found.filter(pk__in=managed.values("project")).order_by(slug_field()))


def asks_policy(policy: Policy) -> bool:
    """Return whether the policy of the site decides itself who may approve tokens in a project."""
    own = type(policy)
    asked = (own.roles, own.projects, own.may_see_keys, own.may_manage_keys, own.may_deny)
    return asked != (
        Policy.roles,
        Policy.projects,
        Policy.may_see_keys,
        Policy.may_manage_keys,
        Policy.may_deny,
    )


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
    first, *others = parts
    union: QuerySet[Any] = first.union(*others, all=True) if others else first
    return union
