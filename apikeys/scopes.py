"""Scopes: what a credential may be used for (RFC 6749 section 3.3).

Declared once, in ``APIKEYS["SCOPES"]``, as ``resource:action`` with a description.
``write`` on a resource implies ``read`` on it.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from .conf import app_settings

__all__ = [
    "BINDINGS_READ",
    "BINDINGS_WRITE",
    "KEYS_READ",
    "KEYS_WRITE",
    "covers",
    "declared",
    "default",
    "expand",
    "is_read_only",
    "join",
    "narrow",
    "split",
    "unknown",
]

# RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
TOKEN_PATTERN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")

#: To see and to manage keys over the JSON API: only for who asks for them by name.
KEYS_READ: Final = "keys:read"
KEYS_WRITE: Final = "keys:write"
#: To see and to change bindings of the gateway over the JSON API: likewise.
BINDINGS_READ: Final = "bindings:read"
BINDINGS_WRITE: Final = "bindings:write"
#: A site that does not declare these keeps what they are for to people.
BY_NAME: Final = frozenset({KEYS_READ, KEYS_WRITE, BINDINGS_READ, BINDINGS_WRITE})

_WRITE = ":write"
_READ = ":read"


def declared() -> Mapping[str, str]:
    """Every scope of the site with its description, in the order of declaration."""
    return app_settings.SCOPES


def default() -> list[str]:
    """The scopes of a credential for which nobody asked for any."""
    return [name for name in declared() if name not in BY_NAME]


def split(scope: str) -> tuple[str, ...]:
    """The space-separated ``scope`` of RFC 6749 as sorted names without doubles."""
    return tuple(sorted(set(scope.split())))


def join(names: Iterable[str]) -> str:
    """``names`` as the space-separated scope of RFC 6749, sorted and without doubles."""
    return " ".join(sorted(set(names)))


@lru_cache(maxsize=4096)
def expand(scope: str) -> frozenset[str]:
    """Every scope that the space-separated ``scope`` amounts to, implied ones included."""
    names = set(scope.split())
    names.update([n.removesuffix(_WRITE) + _READ for n in names if n.endswith(_WRITE)])
    return frozenset(names)


def covers(granted: Iterable[str], required: Iterable[str]) -> bool:
    """Whether ``granted`` amounts to all of ``required``."""
    return expand(join(granted)).issuperset(required)


def narrow(scope: str, within: str) -> str:
    """``scope`` where ``within`` amounts to all of it, else what both amount to."""
    allowed = expand(within)
    if allowed.issuperset(scope.split()):
        return scope
    return join(expand(scope) & allowed)


def unknown(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that the site does not declare."""
    known = declared()
    return [name for name in names if name not in known]


def is_read_only(name: str) -> bool:
    """Whether the scope ``name`` ends in ``:read``."""
    return name.endswith(_READ)
