"""Define ``Access``, the object in ``request.auth``. It is the same for keys and OAuth tokens."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NoReturn

from django.apps import apps
from django.db.models import QuerySet
from django.db.models.manager import EmptyManager
from django.utils import timezone

from . import claims, decisions, moments, refusals, restrictions, scopes, token
from .conf import slug_field, slug_of
from .databases import tenants
from .databases.primary import from_primary, reading_primary
from .policy import get_policy
from .refusals import Refused
from .restrictions import Values

__all__ = [
    "EXTERNAL",
    "OAUTH",
    "PERSONAL_ACCESS_TOKEN",
    "PROJECT_KEY",
    "Access",
    "ProjectUser",
    "ServiceUser",
]

#: The values of ``Access.kind``.
PERSONAL_ACCESS_TOKEN: Final = token.KIND_NAMES[token.PAT]
PROJECT_KEY: Final = token.KIND_NAMES[token.KEY]
OAUTH: Final = "oauth"
EXTERNAL: Final = "external"


@dataclass(slots=True, eq=False)
class Access(Values):
    """A verified credential: its user or project, its scopes and its restrictions."""

    #: ``personal_access_token``, ``project_key``, ``oauth`` or ``external``.
    kind: str
    #: The public ID of the credential. Safe to show and to log.
    credential_id: str
    name: str
    #: The scopes as granted, separated by spaces (RFC 6749 section 3.3).
    scope: str
    #: The user that the credential acts for. ``None`` for a project's credential.
    user: Any = None
    #: The project of a project key or of a token exchanged from one. ``None`` for a user's
    #: credential.
    project: Any = None
    #: The OAuth client that holds the token. ``None`` for a key.
    client: Any = None
    #: The public ID of the key that an OAuth token was exchanged from and depends on.
    key: str = ""
    expires_at: datetime | None = None
    #: Users and clients of the OAuth tokens that created the credential, separated by spaces.
    #: It is refused while one of them is deactivated.
    upstream: str = ""
    #: Whether an OAuth token is limited to certain resources of this site (RFC 8707).
    is_for_some_resources: bool = False
    #: The identity provider that issued the token. Empty for a credential of this site.
    issuer: str = ""
    #: The claims of its token.
    external_claims: Mapping[str, Any] | None = field(default=None, repr=False)
    #: Whether the request was signed (RFC 9421).
    signed: bool = False
    #: The user who approved or created the signing key. ``None`` without a signature.
    authorized_by: Any = None
    #: The object for ``request.user``.
    principal: Any = field(default=None, repr=False)
    #: The metadata of the key, as JSON text. ``metadata`` reads it.
    stored_metadata: str | None = field(default=None, repr=False)
    #: Returns the primary keys of the selected projects. ``None`` if all are allowed.
    selected: Callable[[], QuerySet[Any, Any]] | None = field(default=None, repr=False)

    @property
    def revoked_with(self) -> str:
        """The ID of the credential whose revocation ends this one: its key, or itself."""
        return self.key or self.credential_id

    @property
    def scopes(self) -> frozenset[str]:
        """All scopes of the credential, including implied scopes."""
        return scopes.expand(self.scope)

    @property
    def claims(self) -> Mapping[str, Any]:
        """The claims about the holder, which are read-only.

        An external token has the claims of its issuer, any other credential the claims that
        ``Policy.claims`` returns.
        """
        if self.external_claims is not None:
            return self.external_claims
        return claims.of(self.user if self.project is None else self.project)

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata that is stored with the key; empty for a credential without a key.

        A copy at each call: changing it changes nothing in the database.
        """
        return {} if self.stored_metadata is None else json.loads(self.stored_metadata)

    def allows(self, *required: str, project: Any = None) -> bool:
        """Return whether the credential has all of ``required``, in ``project`` if given.

        Without a project, only the scopes are checked, without a query. With a project, the
        selected projects and the policy are checked too: one query for a user's credential,
        none for a project key.
        """
        if not scopes.expand(self.scope).issuperset(required):
            return False
        if self.project is not None:
            return (project is None or project == self.project) and (
                get_policy().project_allows(self.project, required)
            )
        if project is None:
            return True
        with reading_primary():
            return from_primary(self._projects(required, pk=project.pk)).exists()

    def projects(self, *required: str) -> QuerySet[Any]:
        """Return a queryset of the projects in which the credential has all of ``required``.

        It reads from the database that projects are written to.
        """
        with reading_primary():
            return from_primary(self._projects(required))

    def _projects(self, required: tuple[str, ...], **only: Any) -> QuerySet[Any]:
        policy = get_policy()
        if not self.allows(*required):
            return policy.active_projects().none()
        if self.project is not None:
            return policy.active_projects().filter(pk=self.project.pk)
        if self.user is None:
            return policy.active_projects().none()
        if self.selected is not None:
            only["pk__in"] = self.selected()
        return decisions.undenied(policy.projects(self.user, required), self, **only)

    def facts(self) -> dict[str, Any]:
        """Return what ``GET /api/token/`` and ``manage.py apikeys verify`` show."""
        facts = {
            "kind": self.kind,
            "id": self.credential_id,
            "name": self.name,
            "user": self.user.get_username() if self.user is not None else None,
            "project": slug_of(self.project) if self.project is not None else None,
            "client": self.client.client_id if self.client is not None else None,
            "scopes": list(scopes.split(self.scope)),
            "projects": sorted(self.projects().values_list(slug_field(), flat=True)),
            "expires_at": moments.iso(self.expires_at) if self.expires_at else None,
        }
        if self.key:
            facts["key"] = self.key
        if self.issuer:
            facts["issuer"] = self.issuer
        if self.stored_metadata is not None:
            facts["metadata"] = self.metadata
        if self.signed:
            by = self.authorized_by
            facts |= {"signed": True, "authorized_by": by.get_username() if by else None}
        return facts

    def selected_pks(self) -> list[Any] | None:
        """Return the primary keys of the selected projects as JSON; ``None`` if all are allowed."""
        if self.selected is None:
            return None
        with reading_primary():
            pks = [next(iter(row.values())) for row in from_primary(self.selected())]
        return [pk if isinstance(pk, int) else str(pk) for pk in pks]

    def to_dict(self) -> dict[str, Any]:
        """Return the access as JSON, without a secret, for a task that runs later.

        Takes one query if the credential is limited to certain projects.
        """
        return {
            "tenant": tenant(),
            "kind": self.kind,
            "id": self.credential_id,
            "name": self.name,
            "scope": self.scope,
            "user": pk_of(self.user),
            "project": pk_of(self.project),
            "client": self.client.client_id if self.client is not None else None,
            "key": self.key,
            "issuer": self.issuer,
            "external_claims": self.external_claims,
            "expires_at": moments.iso(self.expires_at) if self.expires_at else None,
            "upstream": self.upstream,
            "is_for_some_resources": self.is_for_some_resources,
            "signed": self.signed,
            "authorized_by": pk_of(self.authorized_by),
            "projects": self.selected_pks(),
            "restrictions": restrictions.to_json(self),
            "metadata": self.stored_metadata,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, verify: bool = False) -> "Access":
        """Return the access that ``to_dict`` described. The task's broker must be trusted.

        Pass ``verify=True`` to verify the credential again by its ID: it may have been revoked,
        narrowed or expired since. The result never allows more than ``data``. Without it, only
        the user or project is looked up, and must be active. Raises ``Refused``, also in another
        tenant than that of the request.

        The table of another package (``LIVE``) is not read: it is searched by the text of a key,
        which a task does not have.
        """
        return _restorers[0](data, verify)

    # django-oauth-toolkit's permission classes read these attributes of an access token.

    def is_expired(self) -> bool:
        """Return whether the credential has expired since it was verified."""
        return self.expires_at is not None and self.expires_at <= timezone.now()

    def allow_scopes(self, required: Iterable[str] | None) -> bool:
        """Return whether the credential has all of these scopes."""
        return self.allows(*(required or ()))

    def is_valid(self, required: Iterable[str] | None = None) -> bool:
        """Return whether the credential has not expired and has all of these scopes."""
        return not self.is_expired() and self.allow_scopes(required)


#: Restores an ``Access``. ``apikeys.carried`` sets it, because that needs ``verify``.
_restorers: list[Callable[[Mapping[str, Any], bool], Access]] = []


def restore_by(restorer: Callable[[Mapping[str, Any], bool], Access]) -> None:
    """Set the function behind ``Access.from_dict``."""
    _restorers[:] = [restorer]


def pk_of(instance: Any) -> Any:
    """Return the primary key of ``instance`` as JSON; ``None`` for none."""
    pk = None if instance is None else instance.pk
    return pk if pk is None or isinstance(pk, int) else str(pk)


def tenant() -> str:
    """Return the name of the tenant whose keys are read right now (``PARTITION``)."""
    return ":".join(tenants.ask_place_of(apps.get_model("apikeys.ProjectKey")))


def lasting_id(access: Access) -> str:
    """Return the ID by which to know a credential from request to request.

    It is empty for an external token, and for an OAuth token that was not issued for a key: the
    token is replaced every few minutes, and its client and user are not.
    """
    return access.key if access.kind in (OAUTH, EXTERNAL) else access.credential_id


def credential_of(access: Access) -> tuple[str, str]:
    """Return the kind and the ID that name a credential beyond the request.

    A token that was issued for a key is named like its key, and any other OAuth token by
    ``token.grant_id``. An external token has no such ID.
    """
    if access.kind == EXTERNAL and not access.key:
        return EXTERNAL, ""
    if access.kind == OAUTH and not access.key:
        client = getattr(access.client, "pk", None)  # a carried access knows only its ID
        return OAUTH, token.grant_id(client, pk_of(access.user)) if client else ""
    return (PERSONAL_ACCESS_TOKEN if access.project is None else PROJECT_KEY), access.revoked_with


class UserRequired(Refused, TypeError):  # noqa: N818 - a refusal, not a fault
    """Raised where Django needs a user and gets a ``ServiceUser``. Django raises ``TypeError``."""


class ServiceUser:
    """``request.user`` of a credential without a user. Authenticated, but without permissions.

    It has no primary key and no Django permissions, so code that needs a real user fails
    instead of mistaking this object for one.
    """

    pk = id = None
    is_authenticated = True
    is_anonymous = False
    is_active = True
    is_staff = False
    is_superuser = False

    def get_username(self) -> str:
        """Return a name for logs, such as ``project:engine``."""
        raise NotImplementedError

    @property
    def username(self) -> str:
        """The same as ``get_username()``."""
        return self.get_username()

    def __str__(self) -> str:
        return self.get_username()

    def resolve_expression(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise ``UserRequired``: Django calls this for a value in a query."""
        raise UserRequired(refusals.USER_REQUIRED)

    @property
    def groups(self) -> Any:
        """A manager without rows, as ``AnonymousUser`` has."""
        return EmptyManager(apps.get_model("auth.Group"))

    @property
    def user_permissions(self) -> Any:
        """A manager without rows, as ``AnonymousUser`` has."""
        return EmptyManager(apps.get_model("auth.Permission"))

    def get_user_permissions(self, obj: object = None) -> set[str]:
        """Return an empty set. So do the methods below."""
        return set()

    get_group_permissions = get_all_permissions = get_user_permissions

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Return ``False``."""
        return False

    def has_perms(self, perm_list: Iterable[str], obj: object = None) -> bool:
        """Return ``False``."""
        return False

    def has_module_perms(self, app_label: str) -> bool:
        """Return ``False``."""
        return False


class ProjectUser(ServiceUser):
    """``request.user`` of a request with a project key."""

    def __init__(self, project: Any) -> None:
        self.project = project

    def get_username(self) -> str:
        return f"project:{slug_of(self.project)}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProjectUser) and other.project == self.project

    def __hash__(self) -> int:
        return hash((ProjectUser, self.project))
