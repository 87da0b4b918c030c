"""Register django-oauth-toolkit's permission classes as checks of scopes, in any version.

Imported only if it is installed, with or without ``apikeys.oauth``.

``IsAuthenticatedOrTokenHasScope`` is not registered: it allows every user that another
authentication class logged in, and so every key.
"""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from oauth2_provider.contrib.rest_framework import (
    TokenHasScope,
    TokenMatchesOASRequirements,
)
from rest_framework.request import Request

from . import scoping


def register() -> None:
    scoping.register(TokenHasScope, _scopes)
    scoping.register(TokenMatchesOASRequirements, _every_alternative)


def _scopes(permission: Any, request: Request, view: Any) -> object:
    try:
        return permission.get_scopes(request, view)
    except ImproperlyConfigured:  # the view declares no scopes
        return None


def _every_alternative(permission: Any, request: Request, view: Any) -> bool:
    try:
        alternatives = permission.get_required_alternate_scopes(request, view)
    except ImproperlyConfigured:
        return False
    # The class refuses a method without an entry. An empty alternative allows every token.
    return all(alternatives.get((request.method or "").upper(), ()))
