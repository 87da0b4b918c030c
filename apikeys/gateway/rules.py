"""One rule of the gateway: the requests that it allows, and what they need.

Routes of the settings and of the database both become rules. This module imports neither.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .paths import Template, is_method

KIND_PATTERN = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
_KIND = re.compile(KIND_PATTERN, re.ASCII)
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](:[0-9]{1,5})?")
#: Allows pages of all origins.
ANY_ORIGIN = "*"


@dataclass(frozen=True)
class Rule:
    """Methods and a path, with the scopes and bindings that a request needs."""

    methods: frozenset[str]
    path: Template
    scopes: tuple[str, ...]
    #: Maps each path parameter that must be bound to the kind of resource.
    bindings: Mapping[str, str]
    #: The origins whose pages may use this route (CORS).
    origins: frozenset[str] = frozenset()

    def allows_origin(self, origin: str) -> bool:
        """Return whether a page of ``origin`` may send this request and read the response."""
        return origin in self.origins or ANY_ORIGIN in self.origins

    @classmethod
    def declared(cls, declared: Any) -> "Rule":
        """Build the rule of one entry of ``GATEWAY_ROUTES``.

        Raise ``ValueError`` with a message for the user.
        """
        if not isinstance(declared, Mapping):
            raise ValueError("A route must be a dictionary.")
        known = {"method", "path", "scopes", "bindings", "cors"}
        if unknown := sorted(map(str, set(declared) - known)):
            raise ValueError(f"A route cannot have the key {', '.join(unknown)}.")
        if missing := sorted({"method", "path", "scopes"} - set(declared)):
            raise ValueError(f"A route needs the key {', '.join(missing)}.")
        return cls.build(
            declared["method"],
            declared["path"],
            declared["scopes"],
            declared.get("bindings"),
            declared.get("cors", ()),
        )

    @classmethod
    def build(cls, method: Any, path: Any, scopes: Any, bindings: Any, cors: Any = ()) -> "Rule":
        """Build a rule from its parts. Raise ``ValueError`` with a message for the user."""
        methods = _words(method)
        if not methods or not all(map(is_method, methods)):
            raise ValueError("`method` must be one or more of GET, POST, … in capital letters.")
        if "GET" in methods:  # RFC 9110 section 9.3.2
            methods = [*methods, "HEAD"]
        if not isinstance(path, str):
            raise ValueError(
                "`path` must be a template such as /subscribers/{subscriber_id}/offers."
            )
        template = Template(path)
        required = _words(scopes)
        if not required:
            raise ValueError("`scopes` must name at least one scope.")
        bound = _bindings(bindings, template.parameters)
        return cls(frozenset(methods), template, tuple(required), bound, _origins(cors))


def _origins(declared: Any) -> frozenset[str]:
    origins = _words(declared)
    for origin in origins:
        if origin != ANY_ORIGIN and not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"`cors` has {origin!r}, which is not an origin. Use an origin in lower case "
                "without a path, such as https://app.acme.example, or *."
            )
    return frozenset(origins)


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split()
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        words = list(value)
        if all(isinstance(word, str) for word in words):
            return words
    raise ValueError(f"{value!r} is not a list of names.")


def _bindings(declared: Any, parameters: list[str]) -> Mapping[str, str]:
    if declared is None:
        return {name: name for name in parameters}
    if isinstance(declared, Mapping):
        pairs = [(name, kind) for name, kind in declared.items() if kind is not None]
        mentioned = list(declared)
    else:
        words = [word for word in _words(declared) if word != "-"]
        split = [word.partition("=") for word in words]
        pairs = [(name, kind if equals else name) for name, equals, kind in split]
        mentioned = [name for name, _ in pairs]
    for name in mentioned:
        if name not in parameters:
            raise ValueError(f"`bindings` names {name!r}, which is not a parameter of the path.")
    for _name, kind in pairs:
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):
            raise ValueError(f"{kind!r} is not a valid kind. Use letters, digits, _ and -.")
    return dict(pairs)
