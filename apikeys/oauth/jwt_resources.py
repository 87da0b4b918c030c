"""Issue access tokens as JWTs to all grants, for the services in ``JWT_RESOURCES``."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from oauthlib.oauth2.rfc6749.tokens import BearerToken

from . import jwts, own_clients, targets
from .conf import oauth_settings


class ResourceTokens(BearerToken):  # type: ignore[misc,unused-ignore]
    """Create a JWT (RFC 9068) for a resource in ``JWT_RESOURCES``, and otherwise an opaque token.

    This is the moment to decide, because an ID token contains a hash of the access token.
    """

    @sensitive_variables()
    def create_token(self, request: Any, refresh_token: bool = False, **kwargs: Any) -> Any:
        token = super().create_token(request, refresh_token=refresh_token, **kwargs)
        if oauth_settings.JWT_RESOURCES:
            # Also finds the resource of the code or the refresh token.
            self.request_validator._check_and_set_request_resource(request)
            if targets.take_jwts(request.resource):
                user, now = _user_of(request), timezone.now()
                token["access_token"] = jwts.issue(
                    request.headers,
                    owner=user,
                    subject=str(user.pk) if user is not None else None,
                    client_id=request.client.client_id,
                    scope=" ".join(dict.fromkeys(token.get("scope", "").split())),
                    resource=request.resource,
                    issued_at=now,
                    expires=now + timedelta(seconds=token["expires_in"]),
                )
        return token


def _user_of(request: Any) -> Any:
    if request.grant_type == own_clients.GRANT:
        return request.client.user  # the owner, or None for a client of the site
    return request.user
