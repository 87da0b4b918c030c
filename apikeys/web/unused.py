"""Find everything that a user may revoke and that was not used in 90 days."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from django.db.models import QuerySet
from django.utils import timezone

from ..conf import app_settings, slug_field
from ..keys import queries
from ..models import AnyKey, Membership, PersonalAccessToken, ProjectKey, State
from ..policy import get_policy, overrides

#: A key is unused if it is older than this, and was not used for that long.
DAYS: Final = 90
#: The most tokens, and the most keys, that the page lists.
MOST: Final = 1000

_MOST_PROJECTS: Final = 50  # that the page checks with a policy of the site
_REVOCABLE: Final = (State.LIVE, State.PENDING, State.PAUSED)

#: Returns the label and the URL of a page with other unused things, if the site has the page.
Other = Callable[[], tuple[Any, str] | None]
_others: list[Other] = []


def register(other: Other) -> None:
    """Register a page to link to from the list, such as the applications of OAuth."""
    if other not in _others:
        _others.append(other)


def others() -> list[tuple[Any, str]]:
    """Return the label and the URL of each registered page."""
    return [found for other in _others if (found := other()) is not None]


@dataclass(frozen=True)
class Unused:
    """The unused tokens of a user first, then the keys by project; each longest unused first."""

    #: The models and primary keys.
    rows: list[tuple[type[AnyKey], Any]]
    #: Whether there are more than ``MOST`` of a kind.
    is_cut: bool = False
    #: Whether the site records uses. If not, everything would look unused, so nothing is listed.
    is_recorded: bool = True

    def fetch(self, start: int, number: int) -> list[AnyKey]:
        """Return the keys from ``start``, with what a page shows of them. Two queries."""
        wanted = self.rows[start : start + number]
        found: dict[tuple[type[AnyKey], Any], AnyKey] = {}
        for model in (PersonalAccessToken, ProjectKey):
            pks = [pk for of_model, pk in wanted if of_model is model]
            if pks:
                rows: Any = model._default_manager.select_related(model.OWNER)
                found |= {(model, key.pk): key for key in rows.filter(pk__in=pks)}
        return [found[row] for row in wanted if row in found]


def unused(user: Any, among: Collection[str] | None = None) -> Unused:
    """Return what ``user`` may revoke and did not use; only the keys with the IDs in ``among``.

    The number of queries does not depend on the number of keys, nor of projects.
    """
    since = timezone.now() - timedelta(days=DAYS)
    if not queries.are_uses_recorded(since):
        return Unused([], is_recorded=False)
    tokens = PersonalAccessToken._default_manager.filter(user=user)
    found, is_cut = _rows(tokens, since, among)
    if app_settings.PROJECT_KEYS:
        keys = ProjectKey._default_manager.filter(project__in=managed(user))
        of_projects, is_also_cut = _rows(keys, since, among, f"project__{slug_field()}")
        found, is_cut = found + of_projects, is_cut or is_also_cut
    return Unused(found, is_cut)


def managed(user: Any) -> QuerySet[Any] | list[Any]:
    """Return the projects whose keys ``user`` may see and manage.

    If the site's policy decides itself, the page checks at most 50 projects of the user with it,
    and only projects with keys.
    """
    policy = get_policy()
    if not overrides(policy, "roles", "may_see_keys", "may_manage_keys"):
        memberships = Membership.objects.filter(user=user, role__in=policy.managing_roles)
        return policy.active_projects().filter(pk__in=memberships.values("project"))
    with_keys = ProjectKey._default_manager.filter(revoked_at=None).order_by().values("project")
    projects = policy.projects(user).filter(pk__in=with_keys).order_by(slug_field())
    return [
        project
        for project in islice(projects, _MOST_PROJECTS)
        if policy.may_see_keys(user, project) and policy.may_manage_keys(user, project)
    ]


def _rows(
    keys: QuerySet[Any], since: datetime, among: Collection[str] | None, *order: str
) -> tuple[list[tuple[type[AnyKey], Any]], bool]:
    if among is not None:
        keys = keys.filter(public_id__in=list(among))
    found = queries.idle(queries.in_state(keys, *_REVOCABLE), since)
    by, _descending = queries.ORDERS["idle"]
    pks = list(found.order_by(*order, by(), "pk").values_list("pk", flat=True)[: MOST + 1])
    return [(keys.model, pk) for pk in pks[:MOST]], len(pks) > MOST
