from typing import Any

from oauth2_provider.oauth2_validators import OAuth2Validator

from ..conf import app_settings


class Validator(OAuth2Validator):
    """Set ``OAUTH2_PROVIDER["OAUTH2_VALIDATOR_CLASS"]`` to this class's path.

    It keeps the password grant (RFC 6749 section 4.3) to ``FIRST_PARTY_CLIENTS``, the
    site's own pages, which RFC 9700 section 2.4 forbids to everybody else.
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
