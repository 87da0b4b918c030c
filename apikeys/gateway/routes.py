"""Load the routes of the settings and the database, and find the routes for a request."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db.models.signals import post_delete, post_save

from ..databases import tenants
from . import models
from .conf import gateway_settings
from .paths import Target
from .rules import Rule

_RELOAD = 5.0  # seconds until a process sees changes that another process saved


def find(method: str, target: Target) -> list[tuple[Rule, Mapping[str, str]]]:
    """Return the most specific matching routes, each with its path parameters.

    Several routes can be equally specific. A request must then satisfy all of them.
    """
    matching = [
        (route, found)
        for route in current()
        if method in route.methods and (found := route.path.match(target)) is not None
    ]
    first = min((route.path.rank for route, _ in matching), default=())
    return [(route, found) for route, found in matching if route.path.rank == first]


_cache: dict[tenants.Place, tuple[float, list[Rule]]] = {}


def current() -> list[Rule]:
    """Return all rules. Reads those in the database again after ``_RELOAD`` seconds."""
    place = tenants.place_of(models.Route)
    if (routes := _kept(place)) is None:
        rows = models.Route.objects.filter(is_active=True)
        routes = [*declared(), *_compile(models.Route.rule, rows)]
        if place is not None:
            _cache[place] = time.monotonic(), routes
    return routes


def _kept(place: tenants.Place | None) -> list[Rule] | None:
    read, routes = _cache.get(place, (0.0, None)) if place is not None else (0.0, None)
    return routes if time.monotonic() - read < _RELOAD else None


def declared() -> list[Rule]:
    """Return the rules in the settings. Raise ``ImproperlyConfigured`` for an invalid one."""
    given = gateway_settings.GATEWAY_ROUTES
    if not isinstance(given, list | tuple):
        raise ImproperlyConfigured("APIKEYS['GATEWAY_ROUTES'] is not a list.")
    return _compile(Rule.declared, given)


def _compile(make: Callable[[Any], Rule], routes: Iterable[Any]) -> list[Rule]:
    # Do not skip an invalid route: a less strict route might match instead.
    try:
        return [make(route) for route in routes]
    except ValueError as error:
        raise ImproperlyConfigured(f"A route of the gateway is invalid: {error}") from error


def read_again(**kwargs: object) -> None:
    """Clear the cache, so that the next request reads the routes again."""
    _cache.clear()


post_save.connect(read_again, sender=models.Route, dispatch_uid="apikeys.gateway")
post_delete.connect(read_again, sender=models.Route, dispatch_uid="apikeys.gateway")
setting_changed.connect(read_again, dispatch_uid="apikeys.gateway")
