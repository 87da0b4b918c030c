"""What a request says, and of oauthlib's request back to Django's, as far as addresses go."""

from typing import Any

from django.http import HttpRequest
from oauth2_provider.settings import oauth2_settings


def is_text(value: str) -> bool:
    """Whether a database takes it: PostgreSQL has no NUL, and UTF-8 no half a surrogate pair."""
    return "\0" not in value and value == value.encode(errors="replace").decode()


class AddressedRequest(HttpRequest):
    """Knows from where it came and to which address: what the headers tell."""

    def __init__(self, headers: Any) -> None:
        super().__init__()
        self.META = dict(headers)

    def _get_scheme(self) -> str:
        # DOT's own note in the headers it hands to oauthlib; a client cannot set it.
        return "https" if self.META.get("X_DJANGO_OAUTH_TOOLKIT_SECURE") else "http"


def issuer(headers: Any) -> str:
    """The ``issuer`` of the metadata (RFC 8414 section 2)."""
    return str(oauth2_settings.oauth2_authorization_server_issuer(AddressedRequest(headers)))


def own_resource(headers: Any) -> str:
    """This API as a resource (RFC 9728 section 2)."""
    configured: str = oauth2_settings.OAUTH2_PROTECTED_RESOURCE_IDENTIFIER
    return configured or AddressedRequest(headers).build_absolute_uri("/").rstrip("/")
