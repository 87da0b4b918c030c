"""Restrict a token to services (RFC 8707 ``resource``, RFC 8693 ``audience``)."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from oauth2_provider.oauth2_validators import is_valid_resource_uri, validate_resource_as_url_prefix
from oauthlib.oauth2.rfc6749 import errors

from .conf import oauth_settings

#: Loopback hosts. Plain http to them stays on this machine (RFC 8252 section 7.3). Many clients
#: use the name, although section 8.3 recommends the addresses.
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

# Limited because the time to parse a host grows with the square of its length.
_LONGEST: Final = 2_000  # characters
_MOST: Final = 50


def requested(request: Any, within: Sequence[str]) -> list[str]:
    """Return the resources in the request, or all of ``within`` if the request has none.

    Raise an ``invalid_target`` error (RFC 8693 section 2.2.2) for a resource that is not an
    absolute URI, or that ``AUDIENCES`` or ``within`` does not cover.
    """
    body = request.decoded_body or []
    names = [value for name, value in body if name in ("resource", "audience") and value]
    check(names)
    for name in names:
        if oauth_settings.AUDIENCES is not None and not covers(oauth_settings.AUDIENCES, name):
            raise invalid_target("This server does not issue tokens for this target.")
        if within and not covers(within, name):
            raise invalid_target("The subject token is not valid for this target.")
    return list(dict.fromkeys(names)) or list(within)


def is_issued_for(application: Any, resources: Collection[str]) -> bool:
    """Return whether a token for ``resources`` was issued for the service ``application`` alone.

    The service may exchange it for a token of another service, to act for the caller there. It
    must be a client of the site's operators (``RESOURCE_SERVERS``).
    """
    if application is None or application.user_id is not None:
        return False
    if application.client_type != application.CLIENT_CONFIDENTIAL:
        return False
    own = oauth_settings.RESOURCE_SERVERS.get(application.client_id, ())
    return all(covers(own, each) for each in resources)


def take_jwts(resources: Collection[str]) -> bool:
    """Return whether a token for ``resources`` must be a JWT (``JWT_RESOURCES``)."""
    return any(covers(oauth_settings.JWT_RESOURCES, each) for each in resources)


def is_whole_site(resource: str) -> bool:
    """Return whether ``resource`` is a whole origin, without a path or a query."""
    parts = urlsplit(resource)
    return parts.path in ("", "/") and not parts.query


def check(names: Iterable[str], **kwargs: Any) -> None:
    """Raise an ``invalid_target`` error unless all ``names`` are absolute URIs, 50 at most."""
    for number, name in enumerate(names):
        if number >= _MOST:
            raise invalid_target(f"A request takes at most {_MOST} targets.", **kwargs)
        try:
            valid = len(name) <= _LONGEST and is_valid_resource_uri(name)
        except (ValueError, TypeError):  # such as "https://[", or a number in a JSON array
            valid = False
        if not valid:
            raise invalid_target(
                "A target must be an absolute URI with a scheme and a host.", **kwargs
            )


def covers(resources: Collection[str], target: str) -> bool:
    """Return whether ``target`` is one of ``resources`` or a path below one."""
    covered: bool = validate_resource_as_url_prefix(target, list(resources))
    return covered and bool(resources)


def invalid_target(description: str, **kwargs: Any) -> errors.OAuth2Error:
    """Return the error ``invalid_target`` (RFC 8693 section 2.2.2)."""
    return errors.CustomOAuth2Error(error="invalid_target", description=description, **kwargs)
