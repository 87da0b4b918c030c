"""What the token endpoint accepts: ``OAUTH2_VALIDATOR_CLASS``."""

from typing import Any

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.oauth2.rfc6749 import errors

from .. import tries
from ..conf import app_settings
from . import bearer, clients, consent, device, guesses, lifetimes, registration, targets
from .http import AddressedRequest
from .models import TokenOrigin

__all__ = ["Validator"]


class Validator(OAuth2Validator):
    """Set ``OAUTH2_PROVIDER["OAUTH2_VALIDATOR_CLASS"]`` to this class's path.

    It keeps the password grant (RFC 6749 section 4.3) to ``FIRST_PARTY_CLIENTS``, the
    site's own pages, which RFC 9700 section 2.4 forbids to everybody else; and access
    tokens to what they came of. The client credentials grant (section 4.4), behind which no
    person's rights stand, is for keys and for the site's own clients: those without a user.
    """

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        if grant_type == "password" and client_id not in app_settings.FIRST_PARTY_CLIENTS:
            return False
        if grant_type == "client_credentials" and client.user_id is not None:
            return False
        return bool(
            super().validate_grant_type(client_id, grant_type, client, request, *args, **kwargs)
            or (grant_type != "password" and registration.has_grant(client, grant_type))
        )

    def _load_application(self, client_id: str, request: Any) -> Any:
        """The client, unless it is of somebody who was deactivated."""
        if client_id and "\0" in client_id:  # of HTTP Basic; PostgreSQL takes none
            return None
        client = super()._load_application(client_id, request)
        if client is not None and not registration.has_active_owner(client):
            client = request.client = None
        return client

    @sensitive_variables()
    def authenticate_client(self, request: Any, *args: Any, **kwargs: Any) -> bool:
        if super().authenticate_client(request, *args, **kwargs):
            return True
        credentials = clients.presented(request.headers, request._params)
        client = request.client
        return (
            credentials is not None
            and client is not None
            and client.client_id == credentials.client_id
            and client.client_type == client.CLIENT_CONFIDENTIAL
            and registration.is_previous_secret(client, credentials.secret)
        )

    def _validate_resource_uris(self, request: Any, resources: Any) -> None:
        targets.check(resources, request=request)

    def _create_authorization_code(self, request: Any, code: Any, expires: Any = None) -> Any:
        grant = super()._create_authorization_code(request, code, expires)
        projects = getattr(request, "apikeys_projects", None)
        consent.record(request.user, request.client, grant.scope, projects, code=grant)
        return grant

    @sensitive_variables("refresh_token")
    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        if not super().validate_refresh_token(refresh_token, client, request, *args, **kwargs):
            return False
        if request.user is None or not request.user.is_active:
            return False
        if lifetimes.refresh_token_is_over(request.refresh_token_instance, timezone.now()):
            return False
        # Read now: the rotation deletes the access token that it hangs on.
        request.apikeys_consent_id = consent.of_refresh_token(request.refresh_token_instance)
        return True

    def _create_access_token(
        self, expires: Any, request: Any, token: Any, source_refresh_token: Any = None
    ) -> Any:
        row = super()._create_access_token(expires, request, token, source_refresh_token)
        if (consent_id := consent.of_request(request)) is not None:
            TokenOrigin.objects.create(access_token=row, consent_id=consent_id)
        return row

    @sensitive_variables("password")
    def validate_user(
        self, username: str, password: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """Raises ``TooManyTries``, and for who has no password grant: oauthlib asks that later."""
        if client.client_id not in app_settings.FIRST_PARTY_CLIENTS:
            raise errors.UnauthorizedClientError(request=request)
        counters = guesses.count(username, AddressedRequest(request.headers))
        if not super().validate_user(username, password, client, request, *args, **kwargs):
            return False
        tries.give_back(*counters)
        return True

    @sensitive_variables("code")
    def validate_device_code(
        self, client_id: str, code: str, request: Any, *args: Any, **kwargs: Any
    ) -> str | None:
        """The status of a device code of this client's; ``None`` if it is not (RFC 8628)."""
        client = request.client
        return device.poll(client.client_id if client else client_id, code, request)

    @sensitive_variables("token")
    def _load_access_token(self, token: str) -> Any:
        """The row of an access token that is still held by what it came of. One query."""
        return bearer.load(token)

    @sensitive_variables("token")
    def revoke_token(
        self, token: str, token_type_hint: str, request: Any, *args: Any, **kwargs: Any
    ) -> None:
        if not clients.revoke_key(token):
            super().revoke_token(token, token_type_hint, request, *args, **kwargs)
