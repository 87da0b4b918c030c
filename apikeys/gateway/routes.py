"""Which requests may pass, and on which terms: routes of the settings and of the database."""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db.models.signals import post_delete, post_save

from ..conf import app_settings
from . import models
from .models import KIND_PATTERN
from .paths import Target, Template, is_method

_RELOAD = 5.0  # seconds until a process notices what another changed in the database
_KIND = re.compile(KIND_PATTERN, re.ASCII)


@dataclass(frozen=True)
class Route:
    methods: frozenset[str]
    path: Template
    scopes: tuple[str, ...]
    #: Parameters of the path, and the kind of what they identify.
    bindings: Mapping[str, str]

    @classmethod
    def of(cls, declared: "Mapping[str, Any] | models.Route") -> "Route":
        """Raises ``ValueError`` with a sentence."""
        if isinstance(declared, models.Route):
            bindings = None if not declared.bindings.strip() else declared.bindings
            return cls.build(declared.method, declared.path, declared.scope, bindings)
        if not isinstance(declared, Mapping):
            raise ValueError("A route is a dictionary.")
        known = {"method", "path", "scopes", "bindings"}
        if unknown := sorted(map(str, set(declared) - known)):
            raise ValueError(f"A route has no {', '.join(unknown)}.")
        if missing := sorted({"method", "path", "scopes"} - set(declared)):
            raise ValueError(f"A route needs {', '.join(missing)}.")
        return cls.build(
            declared["method"], declared["path"], declared["scopes"], declared.get("bindings")
        )

    @classmethod
    def build(cls, method: Any, path: Any, scopes: Any, bindings: Any) -> "Route":
        methods = _words(method)
        if not methods or not all(map(is_method, methods)):
            raise ValueError("`method` is one or more of GET, POST, … in capitals.")
        if "GET" in methods:  # RFC 9110 section 9.3.2
            methods = [*methods, "HEAD"]
        if not isinstance(path, str):
            raise ValueError("`path` is a template such as /subscribers/{subscriber_id}/offers.")
        template = Template(path)
        required = _words(scopes)
        if not required:
            raise ValueError("`scopes` has none: a route that asks for no scope is refused.")
        bound = _bindings(bindings, template.parameters)
        return cls(frozenset(methods), template, tuple(required), bound)


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
            raise ValueError(f"`bindings` names {name!r}, which is no parameter of the path.")
    for _name, kind in pairs:
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):
            raise ValueError(f"{kind!r} is no kind: it takes letters, digits, _ and -.")
    return dict(pairs)


def find(method: str, target: Target) -> list[tuple[Route, Mapping[str, str]]]:
    """The routes to obey, each with the parameters of its path: the most specific ones.

    Several where templates are equally specific: what they ask for adds up.
    """
    matching = [
        (route, found)
        for route in current()
        if method in route.methods and (found := route.path.match(target)) is not None
    ]
    first = min((route.path.rank for route, _ in matching), default=())
    return [(route, found) for route, found in matching if route.path.rank == first]


_cache: tuple[float, list[Route]] | None = None


def current() -> list[Route]:
    """All routes. Those of the database are read again after some seconds."""
    global _cache
    now = time.monotonic()
    if _cache is None or now - _cache[0] >= _RELOAD:
        rows = models.Route.objects.filter(is_active=True)
        _cache = (now, [*declared(), *_compile(rows)])
    return _cache[1]


def cached() -> list[Route] | None:
    """What ``current`` would answer without a query, or ``None``."""
    fresh = _cache is not None and time.monotonic() - _cache[0] < _RELOAD
    return _cache[1] if fresh and _cache is not None else None


def declared() -> list[Route]:
    """Those of the settings. Raises ``ImproperlyConfigured``; a check tells of it earlier."""
    given = app_settings.GATEWAY_ROUTES
    if not isinstance(given, list | tuple):
        raise ImproperlyConfigured("APIKEYS['GATEWAY_ROUTES'] is not a list.")
    return _compile(given)


def _compile(rows: Iterable[Any]) -> list[Route]:
    # A wrong route is not left out: a laxer one might match in its place.
    try:
        return [Route.of(row) for row in rows]
    except ValueError as error:
        raise ImproperlyConfigured(f"A route of the gateway is wrong: {error}") from error


def forget(**kwargs: object) -> None:
    """Read the routes again at the next request."""
    global _cache
    _cache = None


post_save.connect(forget, sender=models.Route, dispatch_uid="apikeys.gateway")
post_delete.connect(forget, sender=models.Route, dispatch_uid="apikeys.gateway")
setting_changed.connect(forget, dispatch_uid="apikeys.gateway")
