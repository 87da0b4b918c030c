"""Describe an issuer whose access tokens the API accepts, and build it from ``ISSUERS``."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from .. import scopes
from ..conf import app_settings, rules
from . import entries
from .entries import Issuer

#: The claims that contain scopes by default (RFC 8693 section 4.2, Entra and Okta).
SCOPES_FROM: Final = ("scope", "scp")

Path = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrustedIssuer(Issuer):
    """An issuer whose access tokens the API accepts."""

    #: The claims that contain scopes or roles.
    scopes_from: tuple[str | Path, ...] = SCOPES_FROM
    #: The scopes of each role or foreign scope.
    scope_map: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Whether its tokens can manage keys and bindings.
    manage_keys: bool = False
    #: The claim by which a new identity finds its user, and the field of the user.
    match: tuple[str, str] | None = None
    #: The audiences of its logout tokens: the IDs of the clients that users log in to.
    logout_client_ids: frozenset[str] = frozenset()

    def scope_of(self, claims: Mapping[str, Any]) -> str:
        """Return the scopes that a token has here, separated by spaces.

        They are always among ``SCOPES``. A role that is not in the map grants nothing, unless
        it is named like a scope.
        """
        declared = scopes.declared()
        kept: dict[str, None] = {}
        for path in self.scopes_from:
            for name in _names(_find(claims, path)):
                for scope in self.scope_map.get(name, (name,)):
                    if scope in declared and (self.manage_keys or scope not in scopes.BY_NAME):
                        kept[scope] = None
        return scopes.join(kept)


def _find(claims: Mapping[str, Any], path: str | Path) -> Any:
    """Return the claim at ``path``. A name with dots may be one claim, such as a URL."""
    if isinstance(path, str):
        if path in claims:
            return claims[path]
        path = tuple(path.split("."))
    found: Any = claims
    for name in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def _names(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return value.split(" ")
    if isinstance(value, list | tuple):
        return [each for each in value if isinstance(each, str)]
    return ()


def _paths(given: Any) -> bool:
    return rules.is_list(given) and all(
        entries.is_text(each)
        or (isinstance(each, list | tuple) and bool(each) and all(map(entries.is_text, each)))
        for each in given
    )


def _map(given: Any) -> bool:
    return isinstance(given, Mapping) and all(
        isinstance(role, str)
        and rules.is_list(names)
        and all(n in app_settings.SCOPES for n in names)
        for role, names in given.items()
    )


def _match(given: Any) -> bool:
    return (
        isinstance(given, Mapping)
        and len(given) == 1
        and all(isinstance(text, str) and bool(text) for pair in given.items() for text in pair)
    )


OPTIONS: Final[Mapping[str, tuple[str, Callable[[Any], object]]]] = {
    **entries.OPTIONS,
    "SCOPES_FROM": ("a list of claims, such as 'realm_access.roles'", _paths),
    "SCOPE_MAP": ("a dictionary from roles to lists of your SCOPES", _map),
    "MANAGE_KEYS": ("True or False", lambda given: isinstance(given, bool)),
    "MATCH": ("a dictionary with one claim and one field of the user model", _match),
    "LOGOUT_CLIENT_IDS": entries.OPTIONS["CLIENT_IDS"],
}


def faults(url: Any, entry: Any) -> list[str]:
    """Return a sentence for each fault of an entry of ``ISSUERS``."""
    return entries.faults(url, entry, OPTIONS)


def build(url: str, entry: Mapping[str, Any]) -> TrustedIssuer:
    """Return the issuer of a valid entry of ``ISSUERS``."""
    base = entries.build(url, entry)
    return TrustedIssuer(
        **{each.name: getattr(base, each.name) for each in fields(base)},
        scopes_from=tuple(
            path if isinstance(path, str) else tuple(path)
            for path in entry.get("SCOPES_FROM", SCOPES_FROM)
        ),
        scope_map={role: tuple(names) for role, names in entry.get("SCOPE_MAP", {}).items()},
        manage_keys=entry.get("MANAGE_KEYS", False),
        match=next(iter(entry.get("MATCH", {}).items()), None),
        logout_client_ids=frozenset(entry.get("LOGOUT_CLIENT_IDS", entry.get("CLIENT_IDS", ()))),
    )
