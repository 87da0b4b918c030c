"""Who may do what: the one class that a site replaces (``APIKEYS["POLICY"]``)."""

from collections.abc import Collection
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import QuerySet

from . import scopes
from .models import Membership, get_project_model


class Policy:
    """Rights by role, as they are now; a credential never has more than these.

    Subclass it, override what differs, and name it in ``APIKEYS["POLICY"]``. One instance
    serves the whole process, so keep no state of a request on it.
    """

    #: Roles that have only the scopes ending in ``:read``.
    read_only_roles: Collection[str] = (Membership.Role.VIEWER,)

    def role_allows(self, role: str, scope: str) -> bool:
        """Whether members with this role may do what ``scope`` names."""
        return role not in self.read_only_roles or scopes.is_read_only(scope)

    def projects(self, user: Any, required: Collection[str] = ()) -> QuerySet[Any]:
        """The active projects in which ``user`` may do all of ``required`` today.

        A queryset, so that a view can filter by it without a query of its own.
        """
        roles = [
            role
            for role in Membership.Role.values
            if all(self.role_allows(role, scope) for scope in required)
        ]
        memberships = Membership.objects.filter(user=user, role__in=roles)
        return self.active_projects().filter(pk__in=memberships.values("project"))

    def active_projects(self) -> QuerySet[Any]:
        """All projects that are not deactivated."""
        model = get_project_model()
        projects: QuerySet[Any] = model._default_manager.all()
        return projects.filter(is_active=True) if has_field(model, "is_active") else projects

    def project_allows(self, project: Any, required: Collection[str]) -> bool:
        """Whether keys of ``project`` may do all of ``required`` there today."""
        return True


def has_field(model: Any, name: str) -> bool:
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True
