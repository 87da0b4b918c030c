"""Check a view whose permissions check no scope: ``required_scopes = []`` or ``DEFAULT_SCOPES``."""

from typing import Any

from rest_framework.request import Request

from ..access import Access
from . import granted
from .exceptions import InsufficientScope, scope_not_declared
from .permissions import HasScope, check_object
from .scoping import (
    declared_scopes,
    is_open,
    overriding,
    permissions_of,
    refuses_all,
    required_scopes,
    says_scopes,
)


def check_declaration(request: Request, view: Any, access: Access) -> None:
    """Check the scopes that ``unchecked_scopes`` returns.

    Raises ``scope_not_declared`` if the view declares no scopes, and ``insufficient_scope``.
    """
    required = unchecked_scopes(request, view)
    if required is None:
        raise scope_not_declared(request, view)
    if not access.allows(*required):
        raise InsufficientScope(*required)
    if required:
        granted.scopes(request, required)
        _check_objects(view, access, required)


def _check_objects(view: Any, access: Access, required: tuple[str, ...]) -> None:
    """Require the scopes in the project of each object, as ``HasScope`` does."""
    check_permissions = view.check_object_permissions

    def check_object_permissions(request: Request, obj: Any) -> None:
        check_permissions(request, obj)
        check_object(request, access, required, obj)

    view.check_object_permissions = check_object_permissions


def unchecked_scopes(request: Request, view: Any) -> tuple[str, ...] | None:
    """Return the scopes to require in a view whose permissions check none; ``None`` to refuse.

    Nothing is required if the view says ``required_scopes = []`` and lists no permission that
    checks scopes. ``DEFAULT_SCOPES`` holds for a view that declares no scopes in any way;
    its ``None`` holds for every view.
    """
    if view is None or refuses_all(view):
        return None
    method = request.method or ""
    if says_scopes(view):
        return () if is_open(view, method) and not permissions_of(view) else None
    if overriding(view) or not all(isinstance(each, HasScope) for each in permissions_of(view)):
        return None
    if is_open(view, method):
        own = HasScope.get_required_scopes
        is_computed = any(
            type(each).get_required_scopes is not own for each in permissions_of(view)
        )
        return None if is_computed else ()
    return required_scopes(view, method, getattr(view, "action", None)) or None


def effective_scopes(request: Request, view: Any) -> tuple[str, ...]:
    """Return the scopes that a credential needs for ``request``, as far as they are lists.

    Ask ``refuses_all`` first: such a view needs no scope, because it accepts no credential.
    """
    return declared_scopes(request, view) or unchecked_scopes(request, view) or ()
