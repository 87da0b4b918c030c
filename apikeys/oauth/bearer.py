"""Find and check a bearer token like django-oauth-toolkit's validator, but faster.

django-oauth-toolkit builds the same query for each token, which takes most of the time. Here
the query is built once. The callers hide all variables of these functions from error reports.
"""

import functools
import hashlib
from typing import Any

from oauth2_provider.models import (
    AbstractApplication,
    AccessToken,
    get_access_token_model,
    get_application_model,
)

from .. import cache
from ..cache import project_users
from ..cache.lookup import Lookup, all_except, fields
from ..conf import app_settings
from ..conf.endings import end_settings
from . import jwts, origin


def validate(text: str, bearer: Any) -> Any:
    """Return the row of the valid access token ``text``, or ``None``.

    The row's user and application are loaded. ``bearer`` stands for the request; only its
    ``uri`` is read.
    """
    token = load(text)
    if token is None or not token.is_valid([]):
        return None
    # RFC 8707: compare the audience of a restricted token. Without a URI, refuse it.
    if token.resource and not token.allows_audience((bearer.uri or "").split("?")[0]):
        return None
    if token.application is not None and not token.application.is_usable(bearer):
        return None
    return token


def load(text: str) -> Any:
    """Return the row of the access token ``text``, or ``None`` if its key or consent ended.

    Takes at most one query, and a second one for a token that was issued for a key or by an
    exchange. Fields that a request rarely needs, such as the token itself, are deferred.
    """
    if jwts.is_one(text) and not jwts.is_good(text):
        return None
    checksum = _checksum(text)
    lookup = _lookup()
    if (row := cache.find(lookup, checksum)) is None:
        return None
    token, user, application, its_origin, consent = lookup.build(row)
    origin.attach(token, user=user, application=application, apikeys_origin=its_origin)
    if its_origin is not None:
        origin.attach(its_origin, consent=consent)
        if origin.is_of_key(its_origin):
            lookup = _lookup_of_keys(
                app_settings.PROJECT_USER, end_settings.ENFORCE_LONGEST_LIFETIME
            )
            if (row := cache.find(lookup, checksum)) is None:
                return None
            origin.attach_of_keys(its_origin, lookup.build(row))
    return token if origin.hold_to(its_origin, token) else None


def is_in_memory(text: str) -> bool:
    """Return whether ``validate`` needs no query for ``text``."""
    return cache.peek(_lookup(), _checksum(text)) is not None


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


# Django's settings for swappable models cannot change while it runs.
@functools.cache
def _lookup() -> Lookup:
    # Never fetch the token, which a site may store in clear text, or the client's secret. A
    # site's custom model may read any other field.
    model, token, client = (
        get_access_token_model(),
        all_except("token"),
        all_except("client_secret"),
    )
    if model is AccessToken:
        token = fields("user", "application", "expires", "scope", "resource")
    if get_application_model().is_usable is AbstractApplication.is_usable:
        client = fields("client_id", "name", "client_type", "authorization_grant_type", "user")
    wanted = {"": token, "user": all_except("password"), "application": client}
    return Lookup(model, "token_checksum", instances=wanted | origin.WANTED, owners=origin.OWNERS)


@functools.lru_cache(maxsize=8)
def _lookup_of_keys(project_user: str | None, ages: bool) -> Lookup:
    (project,) = origin.OWNERS_OF_KEYS
    return project_users.make(
        get_access_token_model(),
        "token_checksum",
        (),
        origin.wanted_of_keys(ages=ages),
        origin.OWNERS_OF_KEYS,
        project=project,
    )
