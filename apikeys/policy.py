"""Who may do what: the one class that a site replaces (``APIKEYS["POLICY"]``)."""

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db.models import QuerySet

from . import scopes
from .models import Membership, PersonalAccessToken, get_project_model, reaching_only

__all__ = ["Policy"]


class Policy:
    """Rights by role, as they are now; a credential never has more than these.

    Subclass it, override what differs, and name it in ``APIKEYS["POLICY"]``. One instance
    serves the whole process, so keep no state of a request on it.

    The first half is asked at every request, so what it takes away is gone at the next one.
    The second half is asked when a key is minted, edited or rotated; keys that were made
    under a laxer policy go on, and ``manage.py apikeys audit-policy`` lists them.
    """

    #: Roles that have only the scopes ending in ``:read``.
    read_only_roles: Collection[str] = (Membership.Role.VIEWER,)
    #: Roles that mint, edit, rotate and revoke the keys of their project.
    managing_roles: Collection[str] = (Membership.Role.OWNER, Membership.Role.ADMIN)

    # At every request

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

    def allowed_networks(self, owner: Any) -> Collection[str]:
        """CIDRs from which alone keys of ``owner`` may be used, beside their own; none: anywhere.

        Answer from memory: it is asked at every request, and for async views in the event
        loop, where all other requests wait for whatever this waits for. A query of Django's
        does not block the loop: the key is then verified once more, in a thread.
        """
        return ()

    def rate_limits(self, access: Any) -> Collection[str]:
        """Rates such as ``1000/hour`` that bound ``access`` beside its own limits.

        Make no query here: ``apikeys.drf.KeyThrottle`` asks it at every request.
        """
        return ()

    # When keys are managed

    def roles(self, user: Any, project: Any = None) -> set[str]:
        """The roles that ``user`` has in ``project``, or anywhere. One query."""
        memberships = Membership.objects.filter(user=user, project__in=self.active_projects())
        if project is not None:
            memberships = memberships.filter(project=project)
        return set(memberships.values_list("role", flat=True))

    def grantable(self, user: Any, project: Any = None) -> frozenset[str]:
        """The declared scopes that ``user`` may give to a key of ``project``, or to a token.

        A token's are those that the user has in some project. Somebody in no project may
        give all of them: such a token reaches no project either.
        """
        roles = self.roles(user, project)
        if not roles and project is None:
            return frozenset(scopes.declared())
        return frozenset(
            scope
            for scope in scopes.declared()
            if any(self.role_allows(role, scope) for role in roles)
            and (project is None or self.project_allows(project, [scope]))
        )

    def may_see_keys(self, user: Any, project: Any) -> bool:
        """Whether ``user`` gets to see the list of the project's keys: every member does."""
        return bool(self.roles(user, project))

    def may_manage_keys(self, user: Any, project: Any) -> bool:
        """Whether ``user`` mints, edits, rotates and revokes the project's keys."""
        return not self.roles(user, project).isdisjoint(self.managing_roles)

    def key_managers(self, project: Any) -> Iterable[Any]:
        """The users who are told by mail of the project's keys: those who manage them."""
        users = get_user_model()._default_manager.filter(is_active=True)
        memberships = Membership.objects.filter(project=project, role__in=self.managing_roles)
        return users.filter(pk__in=memberships.values("user"))

    def longest_lifetime(self, owner: Any) -> timedelta | None:
        """How long a key of ``owner`` (a user or a project) may live; ``None``: any time."""
        return None

    def token_lifetime(self, owner: Any) -> timedelta:
        """How long an access token lives that a key of ``owner`` is exchanged for."""
        return timedelta(minutes=10)

    def allows_no_expiry(self, owner: Any) -> bool:
        """Whether a key of ``owner`` may be without expiry; never beside a longest lifetime."""
        return True

    def most_live_keys(self, owner: Any) -> int | None:
        """How many live keys ``owner`` may have; ``None``: any number. Rotated ones don't count."""
        return 1000

    def client_grant_types(self, user: Any) -> Collection[str]:
        """The grant types of OAuth clients that ``user`` registers: of these, no others."""
        return ("authorization_code", "urn:ietf:params:oauth:grant-type:device_code")

    def most_clients(self, user: Any) -> int | None:
        """How many OAuth clients ``user`` may have; ``None``: any number."""
        return 25

    def needs_approval(self, owner: Any, scope: str) -> bool:
        """Whether a key of ``owner`` with ``scope`` is refused until an admin approves it."""
        return False

    def may_approve(self, user: Any, key: Any) -> bool:
        """Whether ``user`` decides on ``key``.

        Those who manage the keys of all projects that it reaches do, and site admins with
        Django's permission to change such keys.
        """
        if user.has_perm(f"apikeys.change_{key._meta.model_name}"):
            return True
        if not isinstance(key, PersonalAccessToken):
            return self.may_manage_keys(user, key.project)
        if key.all_projects:
            return False
        projects = list(key.projects.all())
        return bool(projects) and all(self.may_manage_keys(user, each) for each in projects)

    def approvable(self, user: Any, keys: QuerySet[Any]) -> QuerySet[Any]:
        """Those of ``keys`` on which ``user`` decides: ``may_approve`` for lists, in one query.

        Override both. What is listed here too many, ``may_approve`` refuses.
        """
        if user.has_perm(f"apikeys.change_{keys.model._meta.model_name}"):
            return keys
        memberships = Membership.objects.filter(user=user, role__in=self.managing_roles)
        managed = self.active_projects().filter(pk__in=memberships.values("project"))
        if keys.model is not PersonalAccessToken:
            return keys.filter(project__in=managed)
        # Through a subquery, so that a token of two projects comes once.
        with_any = PersonalAccessToken.objects.filter(projects__in=managed).values("pk")
        return keys.filter(reaching_only(managed.values("pk")), pk__in=with_any)


def has_field(model: Any, name: str) -> bool:
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True
