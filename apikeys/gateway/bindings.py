"""To whom the resources of somebody else's API belong."""

from typing import Any, Final

from .. import cache
from ..access import Access
from ..conf import app_settings
from ..lookup import Lookup, Row
from .models import ResourceBinding


def holds(access: Access, kind: str, identifier: str, scopes: tuple[str, ...] = ()) -> bool:
    """Whether ``identifier`` is bound to the caller.

    A project key has what is bound to its project, and so have the tokens got with it. A
    person's credential has what is bound to the person, unless it is restricted to some
    projects, and to the projects in which it may do all of ``scopes``.

    One query, or none where the site has a cache and knows of the binding; one more for what
    a person has through a project, which is asked anew every time.
    """
    if access.project is not None:
        return _is_bound("project_id", access.project.pk, kind, identifier)
    if access.user is None:
        return False
    if access.selected is None and _is_bound("user_id", access.user.pk, kind, identifier):
        return True
    return _is_bound_to_one(access.projects(*scopes), kind, identifier)


def user_holds(user: Any, kind: str, identifier: str) -> bool:
    """Whether it is bound to ``user``, or to a project of theirs. Two queries at most."""
    return _is_bound("user_id", user.pk, kind, identifier) or _is_bound_to_one(
        app_settings.POLICY.projects(user), kind, identifier
    )


class _Bindings(Lookup):
    """Finds a binding by the column of its owner, the owner, the kind and the identifier."""

    def find(self, value: Any, alias: str | None = None) -> Row | None:
        column, owner, kind, identifier = value
        bindings = self.model.objects.using(alias).filter(**{column: owner})
        found = bindings.filter(kind=kind, identifier=identifier)
        row: Row | None = found.values_list("pk", "identifier").first()
        return row


_BINDINGS: Final = _Bindings(ResourceBinding, "identifier", ("pk", "identifier"))


def _is_bound(column: str, owner: Any, kind: str, identifier: str) -> bool:
    # Only what is bound is kept: a new binding takes effect at once, and guessing fills nothing.
    row = cache.find(_BINDINGS, (column, owner, kind, identifier))
    return row is not None and row[1] == identifier


def _is_bound_to_one(projects: Any, kind: str, identifier: str) -> bool:
    found = ResourceBinding.objects.filter(kind=kind, identifier=identifier, project__in=projects)
    return identifier in found.values_list("identifier", flat=True)
