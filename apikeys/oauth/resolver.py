"""An OAuth access token -> ``Access``. One query, by the rules of django-oauth-toolkit."""

from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from .. import refusals
from ..access import OAUTH, Access, ServiceUser
from ..refusals import Refused
from . import bearer


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
    user, client = token.user, token.application
    if user is not None and not user.is_active:
        raise Refused(refusals.INACTIVE_USER)
    return Access(
        kind=OAUTH,
        credential_id=str(token.pk),
        name=client.name if client else "",
        scope=token.scope,
        user=user,
        client=client,
        principal=user if user is not None else ClientUser(client),
        expires_at=token.expires,
    )
