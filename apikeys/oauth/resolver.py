"""An OAuth access token -> ``Access``. One query, by the rules of django-oauth-toolkit."""

from functools import cached_property
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db import router
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.models import get_access_token_model

from .. import networks, refusals, usage
from ..access import OAUTH, Access, ProjectUser, ServiceUser
from ..conf import app_settings
from ..models import ProjectKey
from ..refusals import Refused
from . import bearer, origin, targets


class ClientUser(ServiceUser):
    """``request.user`` of an OAuth token that no user stands behind (client credentials)."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def get_username(self) -> str:
        return f"client:{self.client.client_id}" if self.client else "client"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClientUser) and other.client == self.client

    def __hash__(self) -> int:
        return hash((ClientUser, self.client))


class _BearerRequest:
    """What the validator reads of a request and writes to it, without parsing it all."""

    access_token: Any = None

    def __init__(self, request: HttpRequest | None) -> None:
        self._request = request

    @cached_property
    def uri(self) -> str | None:
        """For the audience of RFC 8707; ``None`` fails closed for a restricted token."""
        return self._request.build_absolute_uri() if self._request else None


@sensitive_variables("text")
def resolve(text: str, request: HttpRequest | None) -> Access:
    """Raises ``Refused`` for whatever is not a valid access token."""
    token = bearer.validate(text, _BearerRequest(request))
    if token is None:
        raise Refused(refusals.INVALID_TOKEN)
    access = access_of(token)
    if token.apikeys_key is not None:
        _check_network(token.apikeys_key, access, request)
    return access


@sensitive_variables("text")
def recall(text: str, request: HttpRequest | None) -> Access | None:
    """As ``resolve``; ``None`` where that would need the database."""
    if not bearer.is_kept(text):
        return None
    try:
        return resolve(text, request)
    except SynchronousOnlyOperation:  # a model of the site's own asks for more
        return None


def renew(access: Access) -> Access | None:
    """For ``lifecycle``: what ``access`` is now, its token locked; ``None`` if it ended."""
    model = get_access_token_model()
    rows = model._default_manager.using(router.db_for_write(model)).select_for_update()
    token = rows.filter(pk=access.credential_id).first()
    if token is None or not origin.hold(token) or token.is_expired():
        return None
    try:
        return access_of(token)
    except Refused:
        return None


def access_of(token: Any) -> Access:
    """The ``Access`` of a valid token, wherever it is used from. Raises ``Refused``.

    No query, if ``origin.hold`` has seen it before.
    """
    if not hasattr(token, "apikeys_key") and not origin.hold(token):
        raise Refused(refusals.INVALID_TOKEN)  # loaded by a validator of another make
    user, client, key = token.user, origin.client_of(token), token.apikeys_key
    if user is not None and not user.is_active:
        raise Refused(refusals.INACTIVE_USER)
    project = key.project if isinstance(key, ProjectKey) else None
    principal = user
    if user is None:
        principal = ClientUser(client) if project is None else ProjectUser(project)
    return Access(
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
        allowed_networks=key.allowed_networks if key else "",
        rate_limits=key.rate_limits if key else "",
        selected=origin.selected_projects(token),
        is_for_some_resources=not all(map(targets.is_whole_site, token.resource or ())),
    )


def _check_network(key: Any, access: Access, request: HttpRequest | None) -> None:
    """What came of a key is bound to the key's networks, and counts as a use of it."""
    ip = networks.client_ip(request)
    imposed = app_settings.POLICY.allowed_networks(access.project or access.user)
    admitted = networks.admits((key.allowed_networks, " ".join(imposed)), ip)
    (usage.record if admitted else usage.record_refusal)(type(key), key.pk, ip)
    if not admitted:
        raise Refused(refusals.IP_NOT_ALLOWED)
