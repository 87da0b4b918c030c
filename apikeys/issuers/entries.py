"""Describe a trusted issuer, and build it from an entry of the settings."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings

from ..conf import rules
from ..fetching import Network
from . import algorithms

#: The values of ``DISCOVERY``.
OPENID: Final = "openid"
OAUTH: Final = "oauth"

#: The header types of access tokens that an entry accepts by default. Many issuers write
#: ``JWT`` or nothing (``""``). RFC 9068 section 2.1 defines ``at+jwt``.
TYPES: Final = ("at+jwt", "jwt", "")


@dataclass(frozen=True, kw_only=True, eq=False)
class Issuer:
    """A trusted issuer: whose tokens are accepted, and how its keys are found."""

    #: The exact value of the claim ``iss``.
    url: str
    #: A token must name one of these in ``aud``. Empty only if ``client_ids`` is set.
    audiences: frozenset[str] = frozenset()
    #: A token must name one of these in ``client_id``, ``azp``, ``cid`` or ``appid``.
    client_ids: frozenset[str] = frozenset()
    algorithms: frozenset[str] = frozenset(algorithms.DEFAULT)
    #: The accepted header types, in lower case and without ``application/``.
    types: frozenset[str] = frozenset(TYPES)
    #: Seconds by which clocks may differ.
    leeway: int = 30
    #: Which metadata names the keys: ``openid`` (OpenID Connect) or ``oauth`` (RFC 8414).
    discovery: str = OPENID
    #: The URL of the keys, in place of discovery.
    jwks_url: str | None = None
    #: The keys themselves, in place of discovery. They are never fetched.
    jwks: Mapping[str, Any] | None = field(default=None, repr=False)
    #: Private networks in which the keys may be fetched.
    networks: tuple[Network, ...] = ()


def is_https(url: Any) -> bool:
    """Return whether ``url`` is a URL of https without user, query, fragment and wildcard."""
    return (
        rules.is_url(url, ["https"])
        and re.fullmatch(r"[\x21-\x7e]{1,2000}", url) is not None
        and not set("*?#@\\") & set(url)
    )


def is_loopback(url: Any) -> bool:
    """Return whether ``url`` is a URL of http on this computer, for development."""
    if not rules.is_url(url, ["http"]) or set("*?#@\\") & set(url):
        return False
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def is_place(url: Any) -> bool:
    """Return whether ``url`` may be an issuer, or the place of its keys."""
    return is_https(url) or (settings.DEBUG and is_loopback(url))


def is_text(given: Any) -> bool:
    return isinstance(given, str) and bool(given) and "*" not in given


def _texts(given: Any) -> bool:
    return rules.is_list(given) and all(map(is_text, given))


def _algorithms(given: Any) -> bool:
    return (
        rules.is_list(given)
        and bool(given)
        and all(each in algorithms.ASYMMETRIC for each in given)
    )


def _types(given: Any) -> bool:
    return rules.is_list(given) and bool(given) and all(isinstance(each, str) for each in given)


def _jwks(given: Any) -> bool:
    keys = given.get("keys") if isinstance(given, Mapping) else None
    if not isinstance(keys, list | tuple) or not keys:
        return False
    return len(algorithms.public_keys(keys)) == len(keys) and not any("d" in key for key in keys)


def _networks(given: Any) -> bool:
    return rules.is_list(given) and all(isinstance(ip_network(each), Network) for each in given)


#: The options of an entry about its tokens and keys: a description of valid values, and a test.
OPTIONS: Final[Mapping[str, tuple[str, Callable[[Any], object]]]] = {
    "AUDIENCES": ("a list of audiences, each exact", _texts),
    "CLIENT_IDS": ("a list of client IDs, each exact", _texts),
    "ALGORITHMS": (f"a list of {', '.join(algorithms.ASYMMETRIC)}", _algorithms),
    "TYPES": ("a list of header types, such as 'at+jwt'; '' means no type", _types),
    "LEEWAY": ("a whole number of seconds, 0 to 300", rules.whole(0, 300).test),
    "DISCOVERY": ("'openid' or 'oauth'", lambda given: given in (OPENID, OAUTH)),
    "JWKS_URL": ("an https URL", is_place),
    "JWKS": ("a JWK Set with public signature keys only", _jwks),
    "PRIVATE_NETWORKS": ("a list of IP ranges, such as '10.0.0.0/8'", _networks),
}


def is_valid(test: Callable[[Any], object], given: Any) -> bool:
    try:
        return bool(test(given))
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def faults(
    url: Any, entry: Any, options: Mapping[str, tuple[str, Callable[[Any], object]]] = OPTIONS
) -> list[str]:
    """Return a sentence for each fault of an entry. A fault never quotes a value."""
    found = []
    if not is_place(url):
        found.append(
            "The issuer must be the exact https URL in the claim `iss`, without wildcards."
        )
    if not isinstance(entry, Mapping):
        return [*found, "The entry must be a dictionary."]
    for name, given in entry.items():
        if name not in options:
            found.append(f"{name!s:.40} is unknown. Use {', '.join(options)}.")
        elif not is_valid(options[name][1], given):
            found.append(f"{name} must be {options[name][0]}.")
    sources = [name for name in ("DISCOVERY", "JWKS_URL", "JWKS") if name in entry]
    if len(sources) > 1:
        found.append(f"Use only one of {' and '.join(sources)}.")
    return found


def build(url: str, entry: Mapping[str, Any]) -> Issuer:
    """Return the issuer of a valid entry. The options that it does not name have defaults."""

    def names(option: str, default: Collection[str] = ()) -> frozenset[str]:
        return frozenset(entry.get(option, default))

    return Issuer(
        url=url,
        audiences=names("AUDIENCES"),
        client_ids=names("CLIENT_IDS"),
        algorithms=names("ALGORITHMS", algorithms.DEFAULT),
        types=frozenset(map(type_name, entry.get("TYPES", TYPES))),
        leeway=entry.get("LEEWAY", 30),
        discovery=entry.get("DISCOVERY", OPENID),
        jwks_url=entry.get("JWKS_URL"),
        jwks=entry.get("JWKS"),
        networks=tuple(map(ip_network, entry.get("PRIVATE_NETWORKS", ()))),
    )


def type_name(given: str) -> str:
    """Return a header type in the form in which types are compared (RFC 7515 section 4.1.9)."""
    return given.lower().removeprefix("application/")
