"""Work with scopes, which say what a credential can do (RFC 6749 section 3.3).

Declare them once, in ``APIKEYS["SCOPES"]``, as ``resource:action`` with a description.
``resource:write`` implies ``resource:read``.
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

#: Scopes to view and manage keys over the JSON API. Granted only if requested by name.
KEYS_READ: Final = "keys:read"
KEYS_WRITE: Final = "keys:write"
#: Scopes to view and change bindings of the gateway over the JSON API. Likewise.
BINDINGS_READ: Final = "bindings:read"
BINDINGS_WRITE: Final = "bindings:write"
#: If a site does not declare these scopes, only logged-in users can do these things.
BY_NAME: Final = frozenset({KEYS_READ, KEYS_WRITE, BINDINGS_READ, BINDINGS_WRITE})

_WRITE = ":write"
_READ = ":read"


def declared() -> Mapping[str, str]:
    """Return all scopes of the site with their descriptions, in the order of declaration."""
    return app_settings.SCOPES


def default() -> list[str]:
    """Return the scopes of a credential that was requested without scopes."""
    return [name for name in declared() if name not in BY_NAME]


def split(scope: str) -> tuple[str, ...]:
    """Split a space-separated scope (RFC 6749) into sorted, unique names."""
    return tuple(sorted(set(scope.split())))


def join(names: Iterable[str]) -> str:
    """Join ``names`` to a space-separated scope (RFC 6749), sorted and unique."""
    return " ".join(sorted(set(names)))


# Longer texts are not cached: a client may repeat a scope any number of times.
_LONGEST_KEPT: Final = 4_000


def expand(scope: str) -> frozenset[str]:
    """Return all names in the space-separated ``scope``, including implied ones."""
    return _kept(scope) if len(scope) <= _LONGEST_KEPT else _expand(scope)


def _expand(scope: str) -> frozenset[str]:
    names = set(scope.split())
    names.update([n.removesuffix(_WRITE) + _READ for n in names if n.endswith(_WRITE)])
    return frozenset(names)


_kept = lru_cache(maxsize=4096)(_expand)


def covers(granted: Iterable[str], required: Iterable[str]) -> bool:
    """Return whether ``granted`` includes or implies all of ``required``."""
    return expand(join(granted)).issuperset(required)


def narrow(scope: str, within: str) -> str:
    """Return ``scope`` if ``within`` covers it; otherwise what both have in common."""
    allowed = expand(within)
    if allowed.issuperset(scope.split()):
        return scope
    return join(expand(scope) & allowed)


def unknown(names: Iterable[str]) -> list[str]:
    """Return the names that the site does not declare."""
    known = declared()
    return [name for name in names if name not in known]


def is_read_only(name: str) -> bool:
    """Return whether the scope ``name`` ends in ``:read``."""
    return name.endswith(_READ)
