"""System checks: report settings of django-oauth-toolkit that would make requests fail."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth.hashers import get_hasher
from django.core.checks import CheckMessage, Error, register
from django.shortcuts import resolve_url
from oauth2_provider.generators import BaseHashGenerator
from oauth2_provider.oauth2_backends import OAuthLibCore
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.scopes import BaseScopes
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.utils import jwk_from_pem
from oauthlib.oauth2 import ResourceEndpoint, TokenEndpoint

from .. import scopes
from ..conf.documentation import page
from ..conf.rules import is_url
from .conf import OAuthSettings, oauth_settings

#: Longest lifetime in seconds. Thirty years still fit into a date and an integer column.
_LONGEST: Final = 30 * 365 * 24 * 60 * 60

_Test = Callable[[Any], bool]


def _is_number(least: float = 0, most: float = _LONGEST) -> _Test:
    def test(given: Any) -> bool:
        return (
            isinstance(given, int | float)
            and not isinstance(given, bool)
            and least <= given <= most
        )

    return test


def _is_whole(least: int = 0, most: int = _LONGEST) -> _Test:
    return lambda given: isinstance(given, int) and _is_number(least, most)(given)


def _is_class(*bases: type) -> _Test:
    return lambda given: isinstance(given, type) and issubclass(given, bases)


def _has(method: str) -> _Test:
    return lambda given: isinstance(given, type) and callable(getattr(given, method, None))


def _are(test: _Test) -> _Test:
    return lambda given: isinstance(given, list | tuple | set | frozenset) and all(map(test, given))


def _or_none(test: _Test) -> _Test:
    return lambda given: given is None or test(given)


def _or_empty(test: _Test) -> _Test:
    return lambda given: not given or test(given)


def _is_text(given: Any) -> bool:
    return isinstance(given, str)


def _is_switch(given: Any) -> bool:
    return isinstance(given, bool)


def _is_function(given: Any) -> bool:
    return callable(given) and not isinstance(given, type)


def _is_span(given: Any) -> bool:
    if isinstance(given, timedelta):
        given = given.total_seconds()
    return _is_number()(given)


def _is_hasher(given: Any) -> bool:
    try:
        return isinstance(given, str) and bool(get_hasher(given))
    except Exception:  # noqa: BLE001 - importing a hasher may raise anything
        return False


def _is_rsa_key(given: Any) -> bool:
    try:
        return isinstance(given, str | bytes) and jwk_from_pem(given)["kty"] == "RSA"
    except Exception:  # noqa: BLE001 - the library has no common error for malformed keys
        return False


def _is_scope(given: Any) -> bool:
    return isinstance(given, str) and bool(scopes.TOKEN_PATTERN.fullmatch(given))


def _is_issuer(given: Any) -> bool:
    return is_url(given) and not given.endswith("/")


def _is_pair(given: Any) -> bool:
    return isinstance(given, list | tuple) and len(given) == 2 and all(map(_is_text, given))


def _is_prompt(given: Any) -> bool:
    return given in ("auto", "force")


def _is_address(given: Any) -> bool:
    """Return whether oauthlib can insert the user code into the URL."""
    try:
        return _is_function(given) or bool(is_url(given.format(user_code="ABCD")))
    except Exception:  # noqa: BLE001 - format() raises several errors for other braces
        return False


_SECONDS: Final = (_is_number(1), "a number of seconds from 1 to 30 years")
_COUNT: Final = (_is_whole(), "a whole number of at least 0")
_TEXT: Final = (_or_empty(_is_text), "a string")
_TEXTS: Final = (_are(_is_text), "a list of strings")
_SWITCH: Final = (_is_switch, "True or False")
_URL: Final = (_or_empty(is_url), "an https:// or http:// URL, or empty")
_PERMISSIONS: Final = (_are(_has("has_permission")), "a list of classes with has_permission()")

_RULES: Final[Mapping[str, tuple[_Test, str]]] = {
    "CLIENT_ID_GENERATOR_CLASS": (_is_class(BaseHashGenerator), "a subclass of BaseHashGenerator"),
    "CLIENT_SECRET_GENERATOR_CLASS": (
        _is_class(BaseHashGenerator),
        "a subclass of BaseHashGenerator",
    ),
    "CLIENT_SECRET_GENERATOR_LENGTH": (_is_whole(32, 255), "a whole number from 32 to 255"),
    "CLIENT_SECRET_HASHER": (_is_hasher, "the name of a hasher in PASSWORD_HASHERS"),
    "ACCESS_TOKEN_GENERATOR": (
        _or_none(_is_function),
        "a function that takes the request, or None",
    ),
    "REFRESH_TOKEN_GENERATOR": (
        _or_none(_is_function),
        "a function that takes the request, or None",
    ),
    "OAUTH_DEVICE_VERIFICATION_URI": (_or_none(_or_empty(_is_text)), "a URL, or None"),
    "OAUTH_DEVICE_VERIFICATION_URI_COMPLETE": (
        _or_none(_is_address),
        "a URL with {user_code}, a function that returns one, or None",
    ),
    "OAUTH_DEVICE_USER_CODE_GENERATOR": (_or_none(_is_function), "a function, or None"),
    "OAUTH_PRE_TOKEN_VALIDATION": (_are(_is_function), "a list of functions"),
    "EXTRA_SERVER_KWARGS": (lambda given: isinstance(given, dict), "a dictionary"),
    "OAUTH2_SERVER_CLASS": (
        lambda given: _is_class(TokenEndpoint)(given) and _is_class(ResourceEndpoint)(given),
        "apikeys.oauth.server.Server, or another server class of oauthlib",
    ),
    "OAUTH2_VALIDATOR_CLASS": (_is_class(OAuth2Validator), "a subclass of OAuth2Validator"),
    "OAUTH2_BACKEND_CLASS": (_is_class(OAuthLibCore), "OAuthLibCore or a subclass"),
    "SCOPES_BACKEND_CLASS": (_is_class(BaseScopes), "a subclass of BaseScopes"),
    "AUTHORIZATION_CODE_EXPIRE_SECONDS": _SECONDS,
    "ACCESS_TOKEN_EXPIRE_SECONDS": _SECONDS,
    "ID_TOKEN_EXPIRE_SECONDS": _SECONDS,
    "REFRESH_TOKEN_EXPIRE_SECONDS": (_or_none(_is_span), "seconds, a timedelta, or None"),
    "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": (_is_number(), "a number of seconds, at least 0"),
    "REFRESH_TOKEN_REUSE_PROTECTION": _SWITCH,
    "ROTATE_REFRESH_TOKEN": _SWITCH,
    "DEVICE_FLOW_INTERVAL": (_is_whole(1, 3600), "a whole number of seconds from 1 to 3600"),
    "REQUEST_APPROVAL_PROMPT": (_is_prompt, '"auto" or "force"'),
    "ALLOWED_REDIRECT_URI_SCHEMES": (
        lambda given: bool(given) and _are(_is_text)(given),
        "a list of schemes",
    ),
    "ALLOWED_SCHEMES": _TEXTS,
    "OIDC_ISS_ENDPOINT": (_or_empty(_is_issuer), 'a URL that does not end in "/", or empty'),
    "OIDC_USERINFO_ENDPOINT": _URL,
    "OIDC_RSA_PRIVATE_KEY": (_or_empty(_is_rsa_key), "the text of an RSA private key (PEM)"),
    "OIDC_RSA_PRIVATE_KEYS_INACTIVE": (_are(_is_rsa_key), "a list of RSA private keys (PEM)"),
    "OIDC_JWKS_MAX_AGE_SECONDS": _COUNT,
    "OIDC_RESPONSE_TYPES_SUPPORTED": _TEXTS,
    "OIDC_SUBJECT_TYPES_SUPPORTED": _TEXTS,
    "OIDC_TOKEN_ENDPOINT_AUTH_METHODS_SUPPORTED": _TEXTS,
    "RESOURCE_SERVER_INTROSPECTION_URL": _URL,
    "RESOURCE_SERVER_AUTH_TOKEN": (_or_none(_is_text), "a string, or None"),
    "RESOURCE_SERVER_INTROSPECTION_CREDENTIALS": (
        _or_none(_is_pair),
        "a client ID and its secret, or None",
    ),
    "RESOURCE_SERVER_TOKEN_CACHING_SECONDS": (_is_number(), "a number of seconds, at least 0"),
    "RESOURCE_SERVER_TOKEN_RESOURCE_VALIDATOR": (_or_none(callable), "a function, or None"),
    "DCR_REGISTRATION_PERMISSION_CLASSES": _PERMISSIONS,
    "DCR_REGISTRATION_SCOPE": (_is_scope, "the name of a scope"),
    "DCR_REGISTRATION_TOKEN_EXPIRE_SECONDS": (
        _or_none(_is_number(1)),
        "a number of seconds from 1 to 30 years, or None",
    ),
    "CIMD_METADATA_FETCHER": (callable, "a class that fetches metadata documents"),
    "CIMD_REGISTRATION_PERMISSION_CLASSES": _PERMISSIONS,
    "CIMD_ALLOWED_HOSTS": (_or_none(_are(_is_text)), "a list of hosts"),
    "CIMD_FETCH_TIMEOUT_SECONDS": (_is_number(0.1, 60), "a number of seconds from 0.1 to 60"),
    "CIMD_MAX_DOCUMENT_SIZE": (_is_whole(1), "a whole number of bytes, at least 1"),
    "CIMD_METADATA_MIN_AGE_SECONDS": (_is_number(), "a number of seconds, at least 0"),
    "CIMD_METADATA_MAX_AGE_SECONDS": (_is_number(), "a number of seconds, at least 0"),
    "CIMD_FAILURE_BACKOFF_SECONDS": (_is_number(), "a number of seconds, at least 0"),
    "CIMD_MAX_CONCURRENT_FETCHES": (_or_none(_is_whole()), "a whole number of at least 0, or None"),
    "OAUTH2_RESPONSE_TYPES_SUPPORTED": _TEXTS,
    "OAUTH2_TOKEN_ENDPOINT_AUTH_METHODS_SUPPORTED": _TEXTS,
    "OAUTH2_GRANT_TYPES_SUPPORTED": _TEXTS,
    "OAUTH2_PROTECTED_RESOURCE_IDENTIFIER": _URL,
    "OAUTH2_PROTECTED_RESOURCE_AUTHORIZATION_SERVERS": _TEXTS,
    "OAUTH2_PROTECTED_RESOURCE_BEARER_METHODS_SUPPORTED": _TEXTS,
    "OAUTH2_PROTECTED_RESOURCE_NAME": _TEXT,
    "OAUTH2_PROTECTED_RESOURCE_DOCUMENTATION": _TEXT,
    "OAUTH2_PROTECTED_RESOURCE_POLICY_URI": _TEXT,
    "OAUTH2_PROTECTED_RESOURCE_TOS_URI": _TEXT,
    "CLEAR_EXPIRED_TOKENS_BATCH_SIZE": (_is_whole(1), "a whole number of at least 1"),
    "CLEAR_EXPIRED_TOKENS_BATCH_INTERVAL": (_is_number(), "a number of seconds, at least 0"),
}


@register("apikeys")
def check_oauth(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    wrong = dict(_wrong_values())
    # Compare settings with each other only if each one is valid by itself.
    return [
        *OAuthSettings.errors(),
        *wrong.values(),
        *([] if wrong else _combinations()),
    ]


def _wrong_values() -> Iterator[tuple[str, CheckMessage]]:
    """Yield each setting whose value has the wrong type. No message shows the value."""
    if not isinstance(getattr(settings, "OAUTH2_PROVIDER", {}), Mapping):
        yield (
            "",
            Error(
                "OAUTH2_PROVIDER is not a dictionary.",
                hint=f"Set it to the dictionary in {page('reference/oauth')}",
                id="apikeys.E071",
            ),
        )
        return
    for name, (test, words) in _RULES.items():
        hint = f"Set it to {words}. Without the setting, the default applies."
        try:
            is_right = test(getattr(oauth2_settings, name))
        except Exception as error:  # noqa: BLE001 - importing the value may raise anything
            is_right, hint = False, f"{hint} It cannot be loaded: {type(error).__name__}."
        if not is_right:
            message = f"OAUTH2_PROVIDER[{name!r}] has an invalid value."
            yield name, Error(message, hint=hint, id="apikeys.E071")


def _combinations() -> Iterator[CheckMessage]:
    from .server import Server
    from .validators import Validator

    validator, server = oauth2_settings.OAUTH2_VALIDATOR_CLASS, oauth2_settings.OAUTH2_SERVER_CLASS
    if issubclass(server, Server) and not issubclass(validator, Validator):
        yield Error(
            "OAUTH2_PROVIDER['OAUTH2_VALIDATOR_CLASS'] does not come from apikeys.oauth. Access "
            "tokens would keep working after their key is revoked.",
            hint="Set it to 'apikeys.oauth.validators.Validator' or a subclass.",
            id="apikeys.E070",
        )
    if (
        oauth2_settings.REFRESH_TOKEN_GRACE_PERIOD_SECONDS
        and oauth2_settings.COMPLIANT_BCP_RFC9700_TOKEN_STORAGE
    ):
        yield Error(
            "OAUTH2_PROVIDER['REFRESH_TOKEN_GRACE_PERIOD_SECONDS'] needs tokens in clear text, "
            "but COMPLIANT_BCP_RFC9700_TOKEN_STORAGE stores only hashes. A repeated refresh would "
            "fail.",
            hint="Set REFRESH_TOKEN_GRACE_PERIOD_SECONDS to 0.",
            id="apikeys.E072",
        )
    has_keys = oauth2_settings.OIDC_ENABLED and oauth2_settings.OIDC_RSA_PRIVATE_KEY
    if oauth_settings.JWT_RESOURCES and not has_keys:
        yield Error(
            "APIKEYS['JWT_RESOURCES'] is set, but the site has no public keys to verify JWTs with.",
            hint="Set OAUTH2_PROVIDER['OIDC_ENABLED'] and OAUTH2_PROVIDER['OIDC_RSA_PRIVATE_KEY'].",
            id="apikeys.E133",
        )
    if oauth2_settings.OIDC_RP_INITIATED_REGISTRATION_ENABLED:
        try:
            found = resolve_url(oauth2_settings.OIDC_RP_INITIATED_REGISTRATION_URL)
        except Exception:  # noqa: BLE001 - the value may have any type
            found = ""
        if not found or found == "None":
            yield Error(
                "OAUTH2_PROVIDER['OIDC_RP_INITIATED_REGISTRATION_ENABLED'] redirects visitors to "
                "OIDC_RP_INITIATED_REGISTRATION_URL, but that page does not exist.",
                hint="Set OIDC_RP_INITIATED_REGISTRATION_URL to a URL, a path or the name of a URL "
                "pattern.",
                id="apikeys.E072",
            )
