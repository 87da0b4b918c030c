"""Look up how long a token lives.

The most specific value wins: client and grant type, then client, then grant type, then site.
"""

from datetime import timedelta
from typing import Any

from django.db.models import Q
from oauth2_provider.models import refresh_token_expire_timedelta
from oauth2_provider.settings import oauth2_settings

from .models import TokenLifetime

#: Maps the grant types that django-oauth-toolkit stores to their names in RFC 7591.
GRANT_TYPES = {
    "authorization-code": "authorization_code",
    "client-credentials": "client_credentials",
}


def access_token_seconds(request: Any) -> int:
    """Return the lifetime in seconds, for ``token_expires_in`` of oauthlib's server."""
    found = _most_specific(request.client, request.grant_type, "access_token_seconds")
    seconds: int = oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS if found is None else found
    return seconds


def refresh_token_is_over(refresh_token: Any, now: Any) -> bool:
    """Return whether a client's shorter lifetime of refresh tokens has ended.

    DOT checks the site's lifetime. Both count from the expiry of the access token.
    """
    seconds = _most_specific(refresh_token.application, "refresh_token", "refresh_token_seconds")
    if seconds is None or refresh_token.access_token is None:
        return False
    site = refresh_token_expire_timedelta()
    span = timedelta(seconds=seconds)
    ends: bool = refresh_token.access_token.expires + (min(span, site) if site else span) <= now
    return ends


def longest_pause(application: Any) -> timedelta | None:
    """Return how long ``application`` can pause and stay logged in; ``None`` for any time."""
    site: timedelta | None = refresh_token_expire_timedelta()
    seconds = _most_specific(application, "refresh_token", "refresh_token_seconds")
    if seconds is None:
        return site
    return min(timedelta(seconds=seconds), site) if site else timedelta(seconds=seconds)


def _most_specific(application: Any, grant_type: str, field: str) -> int | None:
    if grant_type == "refresh_token" and application is not None:
        own = application.authorization_grant_type
        grant_type = GRANT_TYPES.get(own, own)
    client = Q(application=None)
    if application is not None:
        client |= Q(application=application)
    rows = TokenLifetime.objects.filter(client, grant_type__in=[grant_type, ""])
    best: tuple[int, int] | None = None
    for app_id, grant, seconds in rows.values_list("application", "grant_type", field):
        rank = 2 * (app_id is not None) + bool(grant)
        if seconds is not None and (best is None or rank > best[0]):
            best = (rank, seconds)
    return best[1] if best else None
