"""Look up whether a resource of the protected API is bound to the caller."""

from typing import Any, Final, NamedTuple

from django.db.models import QuerySet

from .. import cache
from ..access import Access
from ..cache.lookup import Lookup, Row
from ..policy import get_policy
from ..usage import denied
from .models import ResourceBinding


class Owner(NamedTuple):
    """The owner of a binding that a caller reaches."""

    #: The primary key of the project; ``""`` for a binding to the user.
    project: Any = ""


def holds(access: Access, kind: str, identifier: str, scopes: tuple[str, ...] = ()) -> bool:
    """Return whether the resource ``identifier`` of ``kind`` is bound to the caller.

    A project key, or a token issued for one, reaches the resources of its project. A user's
    credential reaches the resources of the user, unless it is restricted to selected projects,
    and the resources of each project in which it has all of ``scopes``.

    Takes one query, or none if the binding is cached. The user's projects take one more query,
    which is never cached.
    """
    return owner_of(access, kind, identifier, scopes) is not None


def owner_of(
    access: Access, kind: str, identifier: str, scopes: tuple[str, ...] = ()
) -> Owner | None:
    """Return the owner that binds the resource to the caller; see ``holds``."""
    if access.project is not None:
        pk = access.project.pk
        return Owner(pk) if _is_bound("project_id", pk, kind, identifier) else None
    if access.user is None:
        return None
    if access.selected is None and _is_bound("user_id", access.user.pk, kind, identifier):
        return Owner()
    return _project_of(access.projects(*scopes), kind, identifier)


def denial_of(
    access: Access, kind: str, identifier: str, scopes: tuple[str, ...] = ()
) -> denied.Denial | None:
    """Return the denial without which the resource is bound to the caller; ``None`` if none is."""
    if access.user is None or access.project is not None:
        return None
    projects = _projects_of(ResourceBinding.objects.exclude(project=None), kind, identifier)
    return denied.find(access, scopes, projects) if projects else None


def user_holds(user: Any, kind: str, identifier: str) -> bool:
    """Return whether the resource is bound to ``user`` or to one of the user's projects.

    Takes at most two queries.
    """
    return _is_bound("user_id", user.pk, kind, identifier) or (
        _project_of(get_policy().projects(user), kind, identifier) is not None
    )


class _Bindings(Lookup):
    """Find a binding by owner column, owner, kind and identifier."""

    def find(self, value: Any, alias: str | None = None) -> Row | None:
        column, owner, kind, identifier = value
        bindings = self.model.objects.using(alias).filter(**{column: owner})
        found = bindings.filter(kind=kind, identifier=identifier)
        row: Row | None = found.values_list("pk", "identifier").first()
        return row


_BINDINGS: Final = _Bindings(ResourceBinding, "identifier", ("pk", "identifier"))


def _is_bound(column: str, owner: Any, kind: str, identifier: str) -> bool:
    # Cache only existing bindings: a new one takes effect at once, and guesses use no memory.
    row = cache.find(_BINDINGS, (column, owner, kind, identifier))
    return row is not None and row[1] == identifier


def _project_of(projects: Any, kind: str, identifier: str) -> Owner | None:
    bindings = ResourceBinding.objects.filter(project__in=projects)
    pks = _projects_of(bindings, kind, identifier)
    return None if not pks else Owner(pks.pop() if len(pks) == 1 else "")


def _projects_of(bindings: QuerySet[ResourceBinding], kind: str, identifier: str) -> set[Any]:
    found = bindings.filter(kind=kind, identifier=identifier)
    # Databases compare text loosely: "Ada" may equal "ada".
    return {pk for text, pk in found.values_list("identifier", "project") if text == identifier}
