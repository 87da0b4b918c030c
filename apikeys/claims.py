"""Add the claims of the policy, and published metadata, to tokens and introspection."""

import logging
import math
from collections.abc import Mapping
from typing import Any, Final

from . import restrictions
from .frozen import EMPTY, frozen
from .policy import get_policy

logger = logging.getLogger("apikeys")

#: Names that a policy cannot use: the claims of protocols, and the members of our responses.
RESERVED: Final = frozenset(
    (
        # RFC 7519, RFC 9068, RFC 8693, RFC 7800, RFC 9449, RFC 7662
        *("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "client_id"),
        *("act", "may_act", "cnf", "active", "token_type", "username", "resource", "htm", "htu"),
        # OpenID Connect, and what tells its tokens apart
        *("azp", "nonce", "auth_time", "acr", "amr", "at_hash", "c_hash", "s_hash", "sid"),
        *("events", "typ", "token_use", "email_verified", "phone_number_verified"),
        # This site
        *("project", "kind", "key", "metadata"),
        *restrictions.NAMES,
    )
)


def of(subject: Any) -> Mapping[str, Any]:
    """Return the claims of the policy about ``subject``, a user, a project or ``None``."""
    if subject is None:
        return EMPTY
    given = get_policy().claims(subject)
    if not given:
        return EMPTY
    kept: Mapping[str, Any] = frozen(
        {name: value for name, value in given.items() if _is_usable(name, value)}
    )
    return kept


def published(owner: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a key's ``metadata`` that the policy publishes to other services."""
    if not metadata or owner is None:
        return {}
    names = frozenset(get_policy().published_metadata(owner))
    return {name: value for name, value in metadata.items() if name in names}


def _is_usable(name: Any, value: Any) -> bool:
    if _is_json({name: value}):
        return name not in RESERVED
    logger.error("The claim %r of the policy is left out, because it is not JSON.", name)
    return False


def _is_json(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_json(each) for name, each in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return value is None or isinstance(value, str | int)


def added(subject: Any, registered: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``registered`` and the claims of the policy, which override none of them."""
    return {**of(subject), **registered}
