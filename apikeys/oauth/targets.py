"""For which services a token is (RFC 8707 ``resource``, RFC 8693 ``audience``)."""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from oauth2_provider.oauth2_validators import is_valid_resource_uri, validate_resource_as_url_prefix
from oauthlib.oauth2.rfc6749 import errors

from ..conf import app_settings

#: Hosts to which plain http goes no further than this machine (RFC 8252 section 7.3).
LOOPBACK: Final = ("127.0.0.1", "::1")


def requested(request: Any, within: Sequence[str]) -> list[str]:
    """The resources that the request names, or all of ``within`` if it names none.

    Raises an ``invalid_target`` error (RFC 8693 section 2.2.2) for one that is no absolute
    URI, that ``AUDIENCES`` does not list, or that ``within`` does not cover.
    """
    body = request.decoded_body or []
    names = [value for name, value in body if name in ("resource", "audience") and value]
    check(names)
    for name in names:
        if app_settings.AUDIENCES is not None and not covers(app_settings.AUDIENCES, name):
            raise invalid_target("No tokens are issued for this target.")
        if within and not covers(within, name):
            raise invalid_target("The subject token is not valid for this target.")
    return list(dict.fromkeys(names)) or list(within)


def is_whole_site(resource: str) -> bool:
    """Whether ``resource`` is an origin, and no path of it."""
    parts = urlsplit(resource)
    return parts.path in ("", "/") and not parts.query


def check(names: Iterable[str], **kwargs: Any) -> None:
    """Raises an ``invalid_target`` error for one that is no absolute URI."""
    for name in names:
        try:
            valid = is_valid_resource_uri(name)
        except ValueError:  # such as "https://["
            valid = False
        if not valid:
            raise invalid_target(
                "A target must be an absolute URI with a scheme and a host.", **kwargs
            )


def covers(resources: Sequence[str], target: str) -> bool:
    covered: bool = validate_resource_as_url_prefix(target, list(resources))
    return covered and bool(resources)


def invalid_target(description: str, **kwargs: Any) -> errors.OAuth2Error:
    return errors.CustomOAuth2Error(error="invalid_target", description=description, **kwargs)
