"""Use the site's scopes in OAuth (``SCOPES_BACKEND_CLASS``)."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext
from jwcrypto.common import JWException
from oauth2_provider.scopes import BaseScopes
from oauth2_provider.settings import oauth2_settings

from ..scopes import declared, default, narrow

__all__ = ["Scopes"]

#: Requests an ID token (OpenID Connect Core, section 3.1.2.1). Never granted by default.
OPENID: Final = "openid"


def registration_scope() -> str | None:
    """Return the scope that lets a program register clients for its user (RFC 7591)."""
    return str(oauth2_settings.DCR_REGISTRATION_SCOPE) if oauth2_settings.DCR_ENABLED else None


def is_openid_declared() -> bool:
    """Return whether clients can use OpenID Connect at this site."""
    return bool(oauth2_settings.OIDC_ENABLED) and OPENID in declared()


def gets_id_tokens(application: Any) -> bool:
    """Return whether the server can sign an ID token for this client (OpenID Connect)."""
    if not oauth2_settings.OIDC_ENABLED:
        return False
    try:
        return bool(application.jwk_key)
    except (ImproperlyConfigured, JWException, ValueError):  # no algorithm or no key
        return False


def limited(names: Iterable[str], application: Any) -> list[str]:
    """Return the part of ``names`` that ``application`` may request (``max_scope``)."""
    names = list(names)
    settings = None if application is None else getattr(application, "apikeys_settings", None)
    if settings is None or not settings.max_scope:
        return names
    return narrow(" ".join(names), settings.max_scope).split()


class _Described(dict[str, str]):
    """The declared scopes. The registration scope has a description but is not listed."""

    def __missing__(self, name: str) -> str:
        if name == registration_scope():
            return gettext("Register an application that acts on your behalf")
        raise KeyError(name)


class Scopes(BaseScopes):
    """Set ``OAUTH2_PROVIDER["SCOPES_BACKEND_CLASS"]`` to ``"apikeys.oauth.scopes.Scopes"``."""

    def get_all_scopes(self) -> Mapping[str, str]:
        return _Described(declared())

    def get_available_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        names, registration = list(declared()), registration_scope()
        # A client that registered itself cannot register others.
        if registration and application and application.registration_source == "manual":
            names.append(registration)
        if application is not None and not gets_id_tokens(application):
            names = [name for name in names if name != OPENID]
        return limited(names, application)

    def get_default_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        return limited([name for name in default() if name != OPENID], application)
