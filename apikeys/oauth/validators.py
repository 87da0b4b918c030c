import hashlib
from typing import Any

from django.views.decorators.debug import sensitive_variables
from oauth2_provider.models import get_access_token_model
from oauth2_provider.oauth2_validators import OAuth2Validator

from ..conf import app_settings
from . import clients, device, jwts, origin


class Validator(OAuth2Validator):
    """Set ``OAUTH2_PROVIDER["OAUTH2_VALIDATOR_CLASS"]`` to this class's path.

    It keeps the password grant (RFC 6749 section 4.3) to ``FIRST_PARTY_CLIENTS``, the
    site's own pages, which RFC 9700 section 2.4 forbids to everybody else; and access
    tokens to what they came of.
    """

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        if grant_type == "password" and client_id not in app_settings.FIRST_PARTY_CLIENTS:
            return False
        allowed: bool = super().validate_grant_type(
            client_id, grant_type, client, request, *args, **kwargs
        )
        return allowed

    @sensitive_variables("code")
    def validate_device_code(
        self, client_id: str, code: str, request: Any, *args: Any, **kwargs: Any
    ) -> str | None:
        client = request.client
        return device.poll(client.client_id if client else client_id, code, request)

    @sensitive_variables("token")
    def _load_access_token(self, token: str) -> Any:
        """The row of an access token that is still held by what it came of. One query."""
        if jwts.is_one(token) and not jwts.is_good(token):
            return None
        rows = get_access_token_model().objects.select_related(
            "application", "user", *origin.RELATED
        )
        row = rows.filter(token_checksum=hashlib.sha256(token.encode()).hexdigest()).first()
        return row if row is not None and origin.hold(row) else None

    @sensitive_variables("token")
    def revoke_token(
        self, token: str, token_type_hint: str, request: Any, *args: Any, **kwargs: Any
    ) -> None:
        if not clients.revoke_key(token):
            super().revoke_token(token, token_type_hint, request, *args, **kwargs)
