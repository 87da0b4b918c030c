"""Decide what users, projects and credentials can do (``APIKEYS["POLICY"]``)."""

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db.models import QuerySet

from . import scopes
from .conf import app_settings
from .models import Membership, PersonalAccessToken, get_project_model, reaching_only
from .models.owners import is_active

__all__ = ["Policy"]


class Policy:
    """The current rights of each role. A credential never has more rights than these.

    Subclass it, override methods, and set ``APIKEYS["POLICY"]`` to your class. One instance
    serves the whole process, so do not store the state of a request on it.

    A change to what a role or a project may do takes effect at the next request. Limits on keys
    are read when a key is created, edited or rotated. Existing keys keep working after the
    policy became stricter; ``manage.py apikeys audit-policy`` lists them.
    """

    #: Roles that have only the scopes ending in ``:read``.
    read_only_roles: Collection[str] = (Membership.Role.VIEWER,)
    #: Roles that can create, edit, rotate, pause and revoke the keys of their project.
    managing_roles: Collection[str] = (Membership.Role.OWNER, Membership.Role.ADMIN)

    # Called at every request

    def role_allows(self, role: str, scope: str) -> bool:
        """Return whether members with this role have ``scope``."""
        return role not in self.read_only_roles or scopes.is_read_only(scope)

    def projects(self, user: Any, required: Collection[str] = ()) -> QuerySet[Any]:
        """Return the active projects in which ``user`` currently has all ``required`` scopes.

        Return a queryset, so that a view can filter by it without another query.
        """
        roles = [
            role
            for role in Membership.Role.values
            if all(self.role_allows(role, scope) for scope in required)
        ]
        memberships = Membership.objects.filter(user=user, role__in=roles)
        return self.active_projects().filter(pk__in=memberships.values("project"))

    def active_projects(self) -> QuerySet[Any]:
        """Return all projects that are not deactivated."""
        model = get_project_model()
        projects: QuerySet[Any] = model._default_manager.all()
        return projects.filter(is_active=True) if has_field(model, "is_active") else projects

    def project_allows(self, project: Any, required: Collection[str]) -> bool:
        """Return whether keys of ``project`` currently have all ``required`` scopes."""
        return True

    def allowed_networks(self, owner: Any) -> Collection[str]:
        """Return CIDRs that limit all keys of ``owner`` in addition to their allowed IP ranges.

        Return an empty list to allow any address. Answer from memory: this is called at every
        request, and in the event loop for async views, where waiting would block all requests.
        A Django query does not block the loop, but the key is then verified again in a thread.
        """
        return ()

    def rate_limits(self, access: Any) -> Collection[str]:
        """Return rate limits such as ``1000/hour``, in addition to the key's rate limits.

        Make no query here, because this is called at every request.
        """
        return ()

    def claims(self, subject: Any) -> Mapping[str, Any]:
        """Return claims about ``subject``, a user or a project, such as its plan.

        They are added to your JWT access tokens and to introspection, and are in
        ``request.auth.claims``. Return JSON values. Registered claims, such as ``sub`` and
        ``scope``, cannot be set.
        """
        return {}

    def published_metadata(self, owner: Any) -> Collection[str]:
        """Return the names in the metadata of keys of ``owner`` that other services may read.

        These members are added to JWT access tokens that are issued for a key (the claim
        ``metadata``) and to the gateway's header ``X-Auth-Metadata``. The owner of a key can
        change its metadata, so publish only what the owner may decide. Make no query here,
        because this is called at every request through the gateway.
        """
        return ()

    def external_user(self, issuer: str, claims: Mapping[str, Any]) -> Any:
        """Return the user of a trusted issuer's new identity, or ``None`` to refuse its tokens.

        Called in a transaction for each verified token whose identity has no user yet. A user
        without a primary key is refused like ``None``.
        Return a new user to create accounts just in time, or an existing one to link it. Do not
        find a user by a claim that its holder can change, and by ``email`` only if
        ``claims["email_verified"] is True``: otherwise anyone can take over an account.
        """
        return None

    # Called when keys are managed

    def roles(self, user: Any, project: Any = None) -> set[str]:
        """Return the roles of ``user`` in ``project``, or in any project. Takes one query."""
        memberships = Membership.objects.filter(user=user, project__in=self.active_projects())
        if project is not None:
            memberships = memberships.filter(project=project)
        return set(memberships.values_list("role", flat=True))

    def grantable(self, user: Any, project: Any = None) -> frozenset[str]:
        """Return the scopes that ``user`` may grant to a key of ``project``, or to a token.

        For a token, these are the scopes that the user has in any project. A user without a
        project may grant all scopes, because such a token reaches no project.
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
        """Return whether ``user`` may see the project's keys. By default, all members may."""
        return bool(self.roles(user, project))

    def may_manage_keys(self, user: Any, project: Any) -> bool:
        """Return whether ``user`` may create, edit, rotate, pause and revoke the project's keys."""
        return not self.roles(user, project).isdisjoint(self.managing_roles)

    def key_managers(self, project: Any) -> Iterable[Any]:
        """Return the users who get mail about the project's keys: its managers."""
        memberships = Membership.objects.filter(project=project, role__in=self.managing_roles)
        users = get_user_model()._default_manager.filter(pk__in=memberships.values("user"))
        if has_field(users.model, "is_active"):
            return users.filter(is_active=True)
        return [user for user in users if is_active(user)]

    def may_see_access(self, user: Any, project: Any) -> bool:
        """Return whether ``user`` may see all credentials that reach ``project``.

        By default, users who manage its keys may. The list has the tokens of all members.
        """
        return self.may_manage_keys(user, project)

    def may_deny(self, user: Any, project: Any) -> bool:
        """Return whether ``user`` may deny and allow credentials in ``project``.

        By default, users who manage its keys may. Denying a project key pauses it, and users who
        may manage keys may resume it.
        """
        return self.may_manage_keys(user, project)

    def members(self, project: Any) -> QuerySet[Any]:
        """Return the active users who have ``project`` in ``projects``.

        Override it together with ``projects``. Their tokens are listed on the project's page.
        """
        memberships = Membership.objects.filter(project=project)
        users: QuerySet[Any] = get_user_model()._default_manager.filter(
            pk__in=memberships.values("user")
        )
        return users.filter(is_active=True) if has_field(users.model, "is_active") else users

    def member_scopes(self, project: Any, users: Collection[Any]) -> Mapping[Any, frozenset[str]]:
        """Return the scopes that each of ``users`` has in ``project``, by primary key.

        This is ``grantable`` for many users. The default takes one query, or one for each user
        if your policy overrides ``grantable`` or ``roles``.
        """
        if overrides(self, "grantable", "roles"):
            return {user.pk: self.grantable(user, project) for user in users}
        found = _scopes_by_role(self, [project], users)
        return {user.pk: found.get((project.pk, user.pk), frozenset()) for user in users}

    def longest_lifetime(self, owner: Any) -> timedelta | None:
        """Return the longest lifetime of keys of ``owner`` (user or project); ``None`` for any.

        With ``ENFORCE_LONGEST_LIFETIME``, it also ends older keys, and is called for each key
        that is read: make no query then.
        """
        return None

    def longest_idle(self, owner: Any) -> timedelta | None:
        """Return how long a key of ``owner`` may stay unused; ``None`` for any time.

        ``manage.py apikeys notify`` mails the owner 14 and 3 days before, and then pauses the
        key, or revokes it (``WHEN_IDLE``). With less than 28 days, the first mail is sent after
        half of them, and the key ends 14 days later. Less than a day counts as a day.
        """
        return None

    def token_lifetime(self, owner: Any) -> timedelta:
        """Return the lifetime of access tokens that are issued for a key of ``owner``."""
        return timedelta(minutes=10)

    def allows_no_expiry(self, owner: Any) -> bool:
        """Return whether a key of ``owner`` may have no expiry.

        Not called if ``longest_lifetime`` returns a limit.
        """
        return True

    def most_live_keys(self, owner: Any) -> int | None:
        """Return the maximum number of unended keys of ``owner``; ``None`` for any number.

        Paused and pending keys count. Rotated keys do not.
        """
        return 1000

    def client_grant_types(self, user: Any) -> Collection[str]:
        """Return the grant types that OAuth clients of ``user`` may have.

        The default grant types need a browser. You can also allow ``client_credentials``: a
        confidential client then acts for its owner, who logs in once to create it.
        """
        return ("authorization_code", "urn:ietf:params:oauth:grant-type:device_code")

    def most_clients(self, user: Any) -> int | None:
        """Return the maximum number of OAuth clients of ``user``; ``None`` for any number."""
        return 25

    def needs_approval(self, owner: Any, scope: str) -> bool:
        """Return whether a key of ``owner`` with ``scope`` is pending until someone approves it.

        Users cannot grant such a scope to OAuth clients, except to ``FIRST_PARTY_CLIENTS``.
        """
        return False

    def may_approve(self, user: Any, key: Any) -> bool:
        """Return whether ``user`` may approve or reject ``key``.

        By default, a user who manages the keys of all projects of the key may, and a site admin
        with Django's permission to change such keys.
        """
        if _has_perm(user, f"apikeys.change_{key._meta.model_name}"):
            return True
        projects = key.reach()
        return bool(projects) and all(self.may_manage_keys(user, each) for each in projects)

    def approvable(self, user: Any, keys: QuerySet[Any]) -> QuerySet[Any]:
        """Return the ``keys`` that ``user`` may approve: ``may_approve`` in one query.

        Override both methods. ``may_approve`` is checked again before an approval.
        """
        if _has_perm(user, f"apikeys.change_{keys.model._meta.model_name}"):
            return keys
        memberships = Membership.objects.filter(user=user, role__in=self.managing_roles)
        managed = self.active_projects().filter(pk__in=memberships.values("project"))
        if not keys.model.SELECTS_PROJECTS:
            return keys.filter(project__in=managed)
        # Use a subquery, so that a token of two projects is listed once.
        with_any = PersonalAccessToken.objects.filter(projects__in=managed).values("pk")
        return keys.filter(reaching_only(managed.values("pk")), pk__in=with_any)


def overrides(policy: Policy, *methods: str) -> bool:
    """Return whether ``policy`` overrides one of these ``methods`` of ``Policy``."""
    return any(getattr(type(policy), name) is not getattr(Policy, name) for name in methods)


def scopes_in_projects(
    policy: Policy, members: Collection[tuple[Any, Any]]
) -> dict[tuple[Any, Any], frozenset[str]]:
    """Return ``member_scopes`` of ``members``, each a project and a user, by both primary keys.

    Takes one query, or ``member_scopes`` for each project if the policy overrides how it answers.
    """
    users = {user.pk: user for _project, user in members}
    projects = {project.pk: project for project, _user in members}
    if not overrides(policy, "member_scopes", "grantable", "roles"):
        return _scopes_by_role(policy, projects.values(), users.values())
    found: dict[tuple[Any, Any], frozenset[str]] = {}
    for pk, project in projects.items():
        of_project = {user.pk: user for each, user in members if each.pk == pk}
        allowed = policy.member_scopes(project, list(of_project.values()))
        found |= {(pk, user): scopes_of_user for user, scopes_of_user in allowed.items()}
    return found


def _scopes_by_role(
    policy: Policy, projects: Iterable[Any], users: Iterable[Any]
) -> dict[tuple[Any, Any], frozenset[str]]:
    """Return the scopes that the roles of ``users`` give them in ``projects``. One query."""
    pks = [project.pk for project in projects], [user.pk for user in users]
    rows = list(
        Membership.objects.filter(project__in=pks[0], user__in=pks[1]).values_list(
            "project", "user", "role"
        )
    )
    allowed = {
        role: frozenset(s for s in scopes.declared() if policy.role_allows(role, s))
        for role in {role for _project, _user, role in rows}
    }
    found: dict[tuple[Any, Any], frozenset[str]] = {}
    for project, user, role in rows:
        found[project, user] = found.get((project, user), frozenset()) | allowed[role]
    return found


def get_policy() -> Policy:
    """Return the site's policy, an instance of ``APIKEYS["POLICY"]``."""
    policy: Policy = app_settings.POLICY
    return policy


def _has_perm(user: Any, name: str) -> bool:
    """Return whether a user has a Django permission. Not every user model has permissions."""
    return hasattr(user, "has_perm") and bool(user.has_perm(name))


def has_field(model: Any, name: str) -> bool:
    """Return whether ``model`` has the field ``name``."""
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True
