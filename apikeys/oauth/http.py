"""Read facts from requests of Django and oauthlib: text, stored attributes, addresses."""

from typing import Any

from django.http import HttpRequest
from oauth2_provider.settings import oauth2_settings


def is_text(value: str) -> bool:
    """Return whether a database can store ``value``.

    PostgreSQL stores no NUL, and UTF-8 has no lone surrogates.
    """
    return "\0" not in value and value == value.encode(errors="replace").decode()


def noted(request: Any, name: str) -> Any:
    """Return the attribute ``name`` that this app stored on ``request`` (oauthlib's), or ``None``.

    ``getattr`` would also return a parameter that the client sent, so that the client could
    set the fact itself.
    """
    return vars(request).get(name)


class AddressedRequest(HttpRequest):
    """A Django request built from the headers only: its client's address, host and scheme."""

    def __init__(self, headers: Any) -> None:
        super().__init__()
        self.META = dict(headers)

    def _get_scheme(self) -> str:
        # DOT sets this key for oauthlib. A client cannot: its headers begin with HTTP_.
        return "https" if self.META.get("X_DJANGO_OAUTH_TOOLKIT_SECURE") else "http"


def issuer(headers: Any) -> str:
    """Return the ``issuer`` of the metadata (RFC 8414 section 2)."""
    return str(oauth2_settings.oauth2_authorization_server_issuer(AddressedRequest(headers)))


def own_resource(headers: Any) -> str:
    """Return the resource identifier of this API (RFC 9728 section 2)."""
    configured: str = oauth2_settings.OAUTH2_PROTECTED_RESOURCE_IDENTIFIER
    return configured or AddressedRequest(headers).build_absolute_uri("/").rstrip("/")
