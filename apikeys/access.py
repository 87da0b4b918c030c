"""What a view sees in ``request.auth``: the same for keys and OAuth tokens."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db.models import QuerySet
from django.utils import timezone

from . import scopes
from .conf import app_settings

__all__ = ["OAUTH", "PERSONAL_ACCESS_TOKEN", "PROJECT_KEY", "Access", "ProjectUser", "ServiceUser"]

#: What ``Access.kind`` is one of.
PERSONAL_ACCESS_TOKEN: Final = "personal_access_token"
PROJECT_KEY: Final = "project_key"
OAUTH: Final = "oauth"


@dataclass(slots=True, eq=False)
class Access:
    """A verified credential: who it is, in which project, with which scopes."""

    #: ``personal_access_token``, ``project_key`` or ``oauth``.
    kind: str
    #: The public id of the credential: safe to show and to log.
    credential_id: str
    name: str
    #: The scopes as granted, separated by spaces (RFC 6749 section 3.3).
    scope: str
    #: The user on whose behalf the credential acts; ``None`` for a project's own.
    user: Any = None
    #: The one project that a project key, or a token got with one, acts as; ``None`` for a
    #: user's credential.
    project: Any = None
    #: The OAuth client that holds the token; ``None`` for a key.
    client: Any = None
    #: The public id of the key that an OAuth token was got with, and dies with.
    key: str = ""
    expires_at: datetime | None = None
    #: From where it may be used, and how often; empty for no bound.
    allowed_networks: str = ""
    rate_limits: str = ""
    #: Whether an OAuth token is for some of this site only (RFC 8707); a key would be for all.
    is_for_some_resources: bool = False
    #: Whether the request was signed (RFC 9421), by the one instance that has the private key.
    signed: bool = False
    #: The user who approved that key, or else made it; ``None`` without a signature.
    authorized_by: Any = None
    #: What ``request.user`` is.
    principal: Any = field(default=None, repr=False)
    #: Makes the primary keys of the selected projects; ``None`` where all are allowed.
    selected: Callable[[], QuerySet[Any, Any]] | None = field(default=None, repr=False)

    @property
    def revoked_with(self) -> str:
        """The id of the credential whose revocation ends this one: a key, or itself."""
        return self.key or self.credential_id

    @property
    def scopes(self) -> frozenset[str]:
        """All scopes that the credential amounts to, implied ones included."""
        return scopes.expand(self.scope)

    def allows(self, *required: str, project: Any = None) -> bool:
        """Whether the credential may do all of ``required``, in ``project`` if given.

        Without a project this asks for the scopes alone, and costs no query. With one,
        the project restriction and the policy count too: one query for a user's
        credential, none for a project key.
        """
        if not scopes.expand(self.scope).issuperset(required):
            return False
        if self.project is not None:
            return (project is None or project == self.project) and (
                app_settings.POLICY.project_allows(self.project, required)
            )
        return project is None or self.projects(*required).filter(pk=project.pk).exists()

    def projects(self, *required: str) -> QuerySet[Any]:
        """The projects in which the credential may do all of ``required``, as a queryset."""
        policy = app_settings.POLICY
        if not self.allows(*required):
            return policy.active_projects().none()
        if self.project is not None:
            return policy.active_projects().filter(pk=self.project.pk)
        if self.user is None:
            return policy.active_projects().none()
        reachable = policy.projects(self.user, required)
        return reachable if self.selected is None else reachable.filter(pk__in=self.selected())

    def facts(self) -> dict[str, Any]:
        """Who this is, as ``GET /api/token/`` and ``manage.py apikeys verify`` tell it."""
        facts = {
            "kind": self.kind,
            "id": self.credential_id,
            "name": self.name,
            "user": self.user.get_username() if self.user is not None else None,
            "project": self.project.slug if self.project is not None else None,
            "client": self.client.client_id if self.client is not None else None,
            "scopes": list(scopes.split(self.scope)),
            "projects": sorted(self.projects().values_list("slug", flat=True)),
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
        }
        if self.key:
            facts["key"] = self.key
        if self.signed:
            by = self.authorized_by
            facts |= {"signed": True, "authorized_by": by.get_username() if by else None}
        return facts

    # What django-oauth-toolkit's permission classes ask of an access token.

    def is_expired(self) -> bool:
        """Whether it has ended since it was verified."""
        return self.expires_at is not None and self.expires_at <= timezone.now()

    def allow_scopes(self, required: Iterable[str] | None) -> bool:
        """Whether it has all of these scopes."""
        return self.allows(*(required or ()))

    def is_valid(self, required: Iterable[str] | None = None) -> bool:
        """Whether it has not ended, and has all of these scopes."""
        return not self.is_expired() and self.allow_scopes(required)


class ServiceUser:
    """``request.user`` where no person is: authenticated, and nothing more.

    It has no primary key and no Django permission, so whatever asks for a real user
    fails instead of taking it for one.
    """

    pk = id = None
    is_authenticated = True
    is_anonymous = False
    is_active = True
    is_staff = False
    is_superuser = False

    def get_username(self) -> str:
        """A name for logs, such as ``project:engine``."""
        raise NotImplementedError

    @property
    def username(self) -> str:
        """As ``get_username()``."""
        return self.get_username()

    def __str__(self) -> str:
        return self.get_username()

    def get_user_permissions(self, obj: object = None) -> set[str]:
        """None, here and in the methods below."""
        return set()

    get_group_permissions = get_all_permissions = get_user_permissions

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """``False``."""
        return False

    def has_perms(self, perm_list: Iterable[str], obj: object = None) -> bool:
        """``False``."""
        return False

    def has_module_perms(self, app_label: str) -> bool:
        """``False``."""
        return False


class ProjectUser(ServiceUser):
    """``request.user`` of a request made with a project key."""

    def __init__(self, project: Any) -> None:
        self.project = project

    def get_username(self) -> str:
        return f"project:{self.project.slug}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProjectUser) and other.project == self.project

    def __hash__(self) -> int:
        return hash((ProjectUser, self.project))
