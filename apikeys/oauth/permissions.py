"""django-oauth-toolkit's permission classes count as checks of scope, when they check any.

``IsAuthenticatedOrTokenHasScope`` does not: it lets everybody through who is logged in by
another class than DOT's, and so every key.
"""

from typing import Any

from oauth2_provider.contrib.rest_framework import (
    TokenHasScope,
    TokenMatchesOASRequirements,
)
from rest_framework.request import Request

from ..drf import scoping


def register() -> None:
    scoping.register(TokenHasScope, TokenHasScope.get_scopes)
    scoping.register(TokenMatchesOASRequirements, _every_alternative)


def _every_alternative(permission: Any, request: Request, view: Any) -> bool:
    alternatives = permission.get_required_alternate_scopes(request, view)
    # A method without an entry is refused by the class itself; an empty one lets all through.
    return all(alternatives.get((request.method or "").upper(), ()))
