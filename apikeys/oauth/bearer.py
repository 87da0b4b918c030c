"""A bearer token found and judged as django-oauth-toolkit's validator does it, only faster.

Its check of one token builds the same query anew each time, which is most of what it costs.
"""

import hashlib
from functools import lru_cache
from typing import Any

from django.views.decorators.debug import sensitive_variables
from oauth2_provider.models import (
    AbstractApplication,
    AccessToken,
    get_access_token_model,
    get_application_model,
)
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.settings import oauth2_settings

from .. import cache
from ..lookup import Lookup, but, only
from . import jwts, origin


@sensitive_variables("text")
def validate(text: str, bearer: Any) -> Any:
    """The valid access token that ``text`` is, its user and application included, or ``None``.

    ``bearer`` is what the validator takes for a request: it reads ``uri`` only. A validator
    with a ``validate_bearer_token`` of its own decides itself, and so does DOT's where
    tokens are introspected at another server.
    """
    if _decides_here():
        return _validate(text, bearer)
    if not oauth2_settings.OAUTH2_VALIDATOR_CLASS().validate_bearer_token(text, [], bearer):
        return None
    return bearer.access_token


def _decides_here() -> bool:
    return not oauth2_settings.RESOURCE_SERVER_INTROSPECTION_URL and _is_known(
        oauth2_settings.OAUTH2_VALIDATOR_CLASS
    )


@lru_cache
def _is_known(validator: type[OAuth2Validator]) -> bool:
    from .validators import Validator

    return validator.validate_bearer_token is OAuth2Validator.validate_bearer_token and (
        validator._load_access_token
        in (OAuth2Validator._load_access_token, Validator._load_access_token)
    )


@sensitive_variables("text")
def _validate(text: str, bearer: Any) -> Any:
    token = load(text)
    if token is None or not token.is_valid([]):
        return None
    # RFC 8707: the audience of a restricted token; without a URI it fails closed.
    if token.resource and not token.allows_audience((bearer.uri or "").split("?")[0]):
        return None
    if token.application is not None and not token.application.is_usable(bearer):
        return None
    return token


@sensitive_variables("text")
def load(text: str) -> Any:
    """The row of an access token that is still held by what it came of, or ``None``.

    At most one query, and another one for a token that came of a key or was exchanged. What
    may only be read when asked for, such as the token itself, is deferred.
    """
    if jwts.is_one(text) and not jwts.is_good(text):
        return None
    model = get_access_token_model()
    checksum = _checksum(text)
    lookup = _lookup(model)
    if (row := cache.find(lookup, checksum)) is None:
        return None
    token, user, application, its_origin, consent = lookup.build(row)
    origin.attach(token, user=user, application=application, apikeys_origin=its_origin)
    if its_origin is not None:
        origin.attach(its_origin, consent=consent)
        if origin.is_of_key(its_origin):
            lookup = _lookup_of_keys(model)
            if (row := cache.find(lookup, checksum)) is None:
                return None
            origin.attach_of_keys(its_origin, lookup.build(row))
    return token if origin.hold_to(its_origin, token) else None


@sensitive_variables("text")
def is_kept(text: str) -> bool:
    """Whether ``validate`` can do without a query."""
    lookup = _lookup(get_access_token_model())
    return _decides_here() and cache.peek(lookup, _checksum(text)) is not None


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache
def _lookup(model: Any) -> Lookup:
    # Never the token itself, which a site may store as it is, nor the client's secret. Models
    # of the site's own may look at any other field.
    token, client = but("token"), but("client_secret")
    if model is AccessToken:
        token = only("user", "application", "expires", "scope", "resource")
    if get_application_model().is_usable is AbstractApplication.is_usable:
        client = only("client_id", "name", "client_type", "authorization_grant_type", "user")
    wanted = {"": token, "user": but("password"), "application": client}
    return Lookup(model, "token_checksum", instances=wanted | origin.WANTED)


@lru_cache
def _lookup_of_keys(model: Any) -> Lookup:
    return Lookup(model, "token_checksum", instances=origin.WANTED_OF_KEYS)
