"""django-oauth-toolkit's permission classes count as checks of scope, when they check any.

``IsAuthenticatedOrTokenHasScope`` does not: it lets everybody through who is logged in by
another class than DOT's, and so every key.
"""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from oauth2_provider.contrib.rest_framework import (
    TokenHasScope,
    TokenMatchesOASRequirements,
)
from rest_framework.request import Request

from ..drf import scoping


def register() -> None:
    scoping.register(TokenHasScope, _scopes)
    scoping.register(TokenMatchesOASRequirements, _every_alternative)


def _scopes(permission: Any, request: Request, view: Any) -> object:
    try:
        return permission.get_scopes(request, view)
    except ImproperlyConfigured:  # the view declares none
        return None


def _every_alternative(permission: Any, request: Request, view: Any) -> bool:
    try:
        alternatives = permission.get_required_alternate_scopes(request, view)
    except ImproperlyConfigured:
        return False
    # A method without an entry is refused by the class itself; an empty one lets all through.
    return all(alternatives.get((request.method or "").upper(), ()))
