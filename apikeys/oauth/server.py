"""Define the grants of the token endpoint (``OAUTH2_SERVER_CLASS``)."""

from typing import Any

from oauthlib.openid import Server as OpenIDServer

from . import assertions, lifetimes
from .device import GRANT_TYPE, DeviceCodeGrant
from .grants import ClientCredentialsGrant, JWTBearerGrant, TokenExchangeGrant
from .jwt_resources import ResourceTokens

__all__ = ["Server"]


class Server(OpenIDServer):
    """Set ``OAUTH2_PROVIDER["OAUTH2_SERVER_CLASS"]`` to this class's path.

    Adds four things to oauthlib's server: keys as clients, token exchange, lifetimes per client,
    and JWTs for the services in ``JWT_RESOURCES``.
    """

    def __init__(self, request_validator: Any, **kwargs: Any) -> None:
        kwargs["token_expires_in"] = lifetimes.access_token_seconds
        super().__init__(request_validator, **kwargs)
        # An ID token identifies a user to the client. It is not a credential for this API.
        del self.tokens["JWT"]
        plain = self.default_token_type
        self._default_token_type = ResourceTokens(
            request_validator,
            plain.token_generator,
            plain.expires_in,
            plain.refresh_token_generator,
        )
        self.grant_types["client_credentials"] = ClientCredentialsGrant(
            request_validator, self.credentials_grant
        )
        self.grant_types[GRANT_TYPE] = DeviceCodeGrant(request_validator)
        self.grant_types[TokenExchangeGrant.NAME] = TokenExchangeGrant(request_validator)
        if assertions.is_available():
            self.grant_types[JWTBearerGrant.NAME] = JWTBearerGrant(request_validator)
