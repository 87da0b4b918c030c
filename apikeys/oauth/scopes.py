"""OAuth's scopes are the site's scopes: ``SCOPES_BACKEND_CLASS``."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext
from oauth2_provider.scopes import BaseScopes
from oauth2_provider.settings import oauth2_settings

from ..scopes import declared, default

__all__ = ["Scopes"]


def registration_scope() -> str | None:
    """The scope with which a program registers a client of its user's (RFC 7591)."""
    return str(oauth2_settings.DCR_REGISTRATION_SCOPE) if oauth2_settings.DCR_ENABLED else None


class _Described(dict[str, str]):
    """The declared scopes; the one of registration is found by who knows its name."""

    def __missing__(self, name: str) -> str:
        if name == registration_scope():
            return gettext("Register a program that acts for you")
        raise KeyError(name)


class Scopes(BaseScopes):
    """Set ``OAUTH2_PROVIDER["SCOPES_BACKEND_CLASS"]`` to ``"apikeys.oauth.scopes.Scopes"``."""

    def get_all_scopes(self) -> Mapping[str, str]:
        return _Described(declared())

    def get_available_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        names, registration = list(declared()), registration_scope()
        # A client that was itself registered by a program registers no further ones.
        if registration and application and application.registration_source != "dcr":
            names.append(registration)
        return names

    def get_default_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        return default()
