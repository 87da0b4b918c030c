"""Read the credentials that reach a project: tokens of its members, its keys, and more.

The number of queries does not depend on the number of rows.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet

from ..databases.primary import reading_primary
from ..decisions import PERSONAL_ACCESS_TOKEN, PROJECT_KEY
from ..keys import ended
from ..models import (
    PersonalAccessToken,
    ProjectAccess,
    ProjectKey,
    ProjectRules,
    State,
    live,
)
from ..policy import get_policy
from ..usage import scope_uses
from .entries import WORKLOAD, Entry, effective, state_of

#: Returns the credentials of ``members`` that reach ``project``, or only the one with an ID.
Source = Callable[[Any, QuerySet[Any], str | None], list[Entry]]
_sources: list[Source] = []

_FEW: Final = 500  # IDs in one statement
_STATE = ("expires_at", "is_pending", "paused_at", "rotated_at")


def register(source: Source) -> None:
    """Register a source of credentials beside keys and tokens."""
    if source not in _sources:
        _sources.append(source)


@reading_primary()
def entries(project: Any, only: str | None = None, members: Any = None) -> list[Entry]:
    """Return the unended credentials that reach ``project``, with the decisions about them.

    ``only`` is an ID, and ``members`` some of the project's members. The effective scopes
    and the last use are missing; ``fill`` adds them.
    """
    of_members = get_policy().members(project) if members is None else members
    found = _tokens(project, of_members, only)
    if members is None:
        found += _keys(project, only)
    for source in _sources:
        found += source(project, of_members, only)
    _decide(project, found, only)
    return found


def requires_approval(project: Any) -> bool:
    """Return whether personal access tokens reach ``project`` only once approved."""
    return ProjectRules.objects.filter(project=project, approves_tokens=True).exists()


def concerned(project: Any, required: bool) -> int:
    """Return how many active tokens it stops to require approval, or lets in to require none."""
    found = entries(project)
    waiting = (each for each in found if each.kind == PERSONAL_ACCESS_TOKEN and not each.decision)
    return sum(each.state == State.LIVE and each.awaits != required for each in waiting)


def fill(project: Any, found: Collection[Entry]) -> None:
    """Set the effective scopes and the uses of these entries. Takes five queries."""
    find_uses(project, found)
    _find_denied_uses(project, found)
    policy = get_policy()
    users: Any = get_user_model()._default_manager
    people = users.in_bulk({each.user_pk for each in found} - {None})
    allowed = policy.member_scopes(project, list(people.values())) if people else {}
    of_project: dict[str, bool] = {}
    for each in found:
        if each.user_pk is not None:
            each.scopes = effective(each.scope, allowed.get(each.user_pk, frozenset()))
            continue
        for scope in each.scope.split():
            if scope not in of_project:
                of_project[scope] = policy.project_allows(project, [scope])
        each.scopes = sorted(scope for scope in each.scope.split() if of_project[scope])


def find_uses(project: Any, found: Collection[Entry]) -> None:
    """Set the last use in ``project`` of these entries. Takes two queries for a page.

    Reading the times of thousands of tokens takes longer than all else, so ``entries`` does not.
    """
    named = [(each.decided_as, each.id) for each in found if each.last_used_at is None]
    used = scope_uses.in_project(project, named if len(named) <= _FEW else None)
    across = scope_uses.across_projects(named)
    for each in found:
        known = each.decided_as, each.id
        if each.last_used_at is None and (use := used.get(known)):
            each.last_used_at = use.last
        each.last_used_across_at = across.get(known)


def _find_denied_uses(project: Any, found: Collection[Entry]) -> None:
    # Not only of denied tokens: a token may be denied with the application that created it.
    ids = {each.id: each for each in found if each.kind == PERSONAL_ACCESS_TOKEN}
    uses = ended.in_project(project, ids if len(ids) <= _FEW else None) if ids else {}
    for public_id, use in uses.items():
        if public_id in ids:
            ids[public_id].denied_use = use


def created_since(project: Any, since: datetime, members: QuerySet[Any] | None) -> set[str]:
    """Return the IDs of the keys that were created since then. Takes two queries.

    Reading when each of thousands of keys was created takes long, so ``entries`` does not.
    """
    of_members = get_policy().members(project) if members is None else members
    reaching: list[QuerySet[Any]] = [_reaching(project, of_members)]
    if members is None:
        reaching.append(ProjectKey._default_manager.filter(live(), project=project))
    return {
        public_id
        for rows in reaching
        for public_id in rows.filter(created_at__gte=since).values_list("public_id", flat=True)
    }


def undecided(project: Any) -> QuerySet[Any]:
    """Return the tokens of members that are pending approval if ``project`` requires approval."""
    decided = ProjectAccess.objects.filter(project=project, kind=PERSONAL_ACCESS_TOKEN)
    rows = _reaching(project, get_policy().members(project))
    return rows.exclude(public_id__in=decided.values("credential"))


def _reaching(project: Any, members: QuerySet[Any]) -> QuerySet[Any]:
    """Return the unended tokens of ``members`` that reach ``project``."""
    selecting = PersonalAccessToken._default_manager.filter(projects=project).values("pk")
    return PersonalAccessToken._default_manager.filter(
        live(), Q(all_projects=True) | Q(pk__in=selecting), user__in=members
    )


def _tokens(project: Any, members: QuerySet[Any], only: str | None) -> list[Entry]:
    rows = _reaching(project, members)
    if only is not None:
        rows = rows.filter(public_id=only)
    username = f"user__{get_user_model().USERNAME_FIELD}"
    columns = ["public_id", "name", "scope", "user", username, *_STATE]
    return [
        Entry(
            PERSONAL_ACCESS_TOKEN,
            public_id,
            name,
            scope,
            user_pk=pk,
            user=str(user),
            **_state(*state),
        )
        for public_id, name, scope, pk, user, *state in rows.order_by("-pk").values_list(*columns)
    ]


def _keys(project: Any, only: str | None) -> list[Entry]:
    rows = ProjectKey._default_manager.filter(live(), project=project)
    if only is not None:
        rows = rows.filter(public_id=only)
    columns = ["public_id", "name", "scope", "trust", "last_used_at", *_STATE]
    return [
        Entry(
            WORKLOAD if trust else PROJECT_KEY,
            public_id,
            name,
            scope,
            last_used_at=used,
            **_state(*state),
        )
        for public_id, name, scope, trust, used, *state in rows.order_by("-pk").values_list(
            *columns
        )
    ]


def _state(expires_at: Any, is_pending: bool, paused_at: Any, rotated_at: Any) -> dict[str, Any]:
    """Return the members of an entry that the columns ``_STATE`` decide."""
    return {
        "expires_at": expires_at,
        "state": state_of(is_pending, paused_at),
        "is_rotated": rotated_at is not None,
    }


def _decide(project: Any, found: list[Entry], only: str | None) -> None:
    """Set the decision about each entry. Takes two queries."""
    decisions = ProjectAccess.objects.filter(project=project).select_related("by")
    if only is not None:
        decisions = decisions.filter(credential=only)
    decided = {(each.kind, each.credential): each for each in decisions}
    approves = requires_approval(project)
    for each in found:
        known = each.decided_as, each.id
        each.decision = decided.get(known)
        if each.kind == PERSONAL_ACCESS_TOKEN:
            each.awaits = approves and each.decision is None
