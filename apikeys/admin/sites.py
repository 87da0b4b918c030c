"""Register the models in Django's default admin site, and in a site's own."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, TypeVar

from django.apps import apps
from django.contrib import admin

A = TypeVar("A", bound=type[Any])

_admins: dict[Any, Any] = {}
_PARTS: Final = ("apikeys", "apikeys.gateway", "apikeys.oauth")


def manages(model: Any) -> Callable[[A], A]:
    """Decorate the class for ``model``: register it in the default site, and for ``register``."""

    def decorate(cls: A) -> A:
        _admins[model] = cls
        admin.site.register(model, cls)
        return cls

    return decorate


def register(site: admin.AdminSite) -> None:
    """Add all models of this package to ``site``, an ``AdminSite`` of your own.

    Models that ``site`` has already are left as they are.
    """
    for part in _PARTS:
        if apps.is_installed(part):
            import_module(f"{part}.admin")
    for model, cls in _admins.items():
        if not site.is_registered(model):
            site.register(model, cls)
