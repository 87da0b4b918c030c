"""An OAuth access token -> ``Access``. One query, on django-oauth-toolkit's own validator."""

from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.settings import oauth2_settings

from .. import refusals, usage
from ..access import OAUTH, Access, ProjectUser, ServiceUser
from ..models import ProjectKey
from ..refusals import Refused
from . import origin


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
    bearer = _BearerRequest(request)
    validator = oauth2_settings.OAUTH2_VALIDATOR_CLASS()
    if not validator.validate_bearer_token(text, [], bearer):
        raise Refused(refusals.INVALID_TOKEN)
    return access_of(bearer.access_token, request)


def access_of(token: Any, request: HttpRequest | None, *, counts_as_use: bool = True) -> Access:
    """The ``Access`` of a valid token. No query, if ``origin.hold`` has seen it before."""
    if not hasattr(token, "apikeys_key") and not origin.hold(token):
        raise Refused(refusals.INVALID_TOKEN)  # loaded by a validator of another make
    user, client, key = token.user, origin.client_of(token), token.apikeys_key
    if user is not None and not user.is_active:
        raise Refused(refusals.INACTIVE_USER)
    project = key.project if isinstance(key, ProjectKey) else None
    principal = user
    if user is None:
        principal = ClientUser(client) if project is None else ProjectUser(project)
    if key is not None and counts_as_use:
        usage.record(type(key), key.pk, request.META.get("REMOTE_ADDR") if request else None)
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
        selected=origin.selected_projects(token),
    )
