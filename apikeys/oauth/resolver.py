"""Turn an OAuth access token into an ``Access``, by the rules of django-oauth-toolkit.

Takes one query.
"""

from functools import cached_property
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db import router
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.models import get_access_token_model
from oauth2_provider.settings import oauth2_settings

from .. import acceptance, refusals, restrictions, usage
from ..access import OAUTH, Access, ServiceUser
from ..models import ProjectKey
from ..models.metadata import stored
from ..models.owners import is_active
from ..refusals import Refused
from ..verify import check_request
from . import bearer, origin, registration, targets, upstream, validators


class ClientUser(ServiceUser):
    """The ``request.user`` of an OAuth token without a user (client credentials)."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def get_username(self) -> str:
        return f"client:{self.client.client_id}" if self.client else "client"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClientUser) and other.client == self.client

    def __hash__(self) -> int:
        return hash((ClientUser, self.client))


class _BearerRequest:
    """The attributes of a request that the validator uses. Nothing else is parsed."""

    access_token: Any = None

    def __init__(self, request: HttpRequest | None) -> None:
        self._request = request

    @cached_property
    def uri(self) -> str | None:
        """The URI to compare with a token's audience (RFC 8707). ``None`` matches none."""
        return self._request.build_absolute_uri() if self._request else None


@sensitive_variables()
def resolve(text: str, request: HttpRequest | None) -> Access | None:
    """Return the ``Access`` of a valid access token; ``None`` leaves ``text`` to other resolvers.

    Raise ``Refused`` for a valid token that this site refuses.
    """
    token = validators.validate(text, _BearerRequest(request))
    if token is None:
        return None
    access = access_of(token)
    if token.apikeys_key is not None:
        _check_request(token.apikeys_key, access, request)
    return access


@sensitive_variables()
def recall(text: str, request: HttpRequest | None) -> Access | None:
    """Return what ``resolve`` returns; ``None`` if that would need the database."""
    if not (validators.is_checked_here() and bearer.is_in_memory(text)):
        return None
    try:
        return resolve(text, request)
    except SynchronousOnlyOperation:  # a custom model of the site runs a query
        return None


def renew(access: Access) -> Access | None:
    """Lock the token of ``access``; return its current ``Access``, or ``None`` if it ended."""
    model = get_access_token_model()
    rows = model._default_manager.using(router.db_for_write(model)).select_for_update()
    token = rows.filter(pk=access.credential_id).first()
    if token is None or not origin.hold(token) or token.is_expired():
        return None
    try:
        return access_of(token)
    except Refused:
        return None


def recheck(pk: str) -> Access:
    """Return the ``Access`` that the token with this primary key has now. Raise ``Refused``.

    No text is checked, so this is for work after a request. See ``apikeys.verify.recheck``.
    """
    model = get_access_token_model()
    rows = model._default_manager.using(router.db_for_write(model))
    token = rows.select_related("user", "application").filter(pk=pk).first()
    if token is None or token.is_expired() or not origin.hold(token) or token.is_expired():
        raise Refused(refusals.INVALID_TOKEN)
    return access_of(token)


def access_of(token: Any) -> Access:
    """Return the ``Access`` of a valid token, from any address. Raise ``Refused``.

    Takes no query if ``origin.hold`` has checked the token before.
    """
    if not hasattr(token, "apikeys_key") and not origin.hold(token):
        raise Refused(refusals.INVALID_TOKEN)  # loaded by a site's custom validator
    if _manages_registration(token):
        raise Refused(refusals.INVALID_TOKEN)
    user, client, key = token.user, origin.client_of(token), token.apikeys_key
    if user is not None and not is_active(user):
        raise Refused(refusals.INACTIVE_USER)
    project = key.project if isinstance(key, ProjectKey) else None
    principal = user
    if project is not None:
        acceptance.check_project_keys()
    if user is None:
        principal = ClientUser(client) if project is None else acceptance.principal_of(project)
    access = Access(
        kind=OAUTH,
        credential_id=str(token.pk),
        name=client.name if client else "",
        scope=token.scope,
        user=user,
        project=project,
        client=client,
        key=key.public_id if key else "",
        principal=principal,
        expires_at=token.expires,
        upstream=upstream.of(token),
        selected=origin.selected_projects(token),
        is_for_some_resources=not all(map(targets.is_whole_site, token.resource or ())),
    )
    if key is not None:
        restrictions.put(access, restrictions.of(key))
        access.stored_metadata = stored(key.metadata)
    return access


def _manages_registration(token: Any) -> bool:
    """Return whether a client that registered itself manages only its registration with it."""
    # Compare the scope first: the client's source may take a query.
    return (
        token.scope == oauth2_settings.DCR_REGISTRATION_SCOPE
        and token.application is not None
        and not registration.is_operators(token.application)
    )


def _check_request(key: Any, access: Access, request: HttpRequest | None) -> None:
    """Check the request against the restrictions of the token's key. Note a use of the key."""
    values, owner = restrictions.of(key), access.project or access.user
    ip = check_request(type(key), key.pk, values, owner, request)
    usage.note_use(type(key), key.pk, ip)
