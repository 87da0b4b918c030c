"""Find the scopes that a view declares, and the permission that holds credentials to them.

Fail closed. Permissions compose with ``|``, ``&`` and ``~``, so listing ``HasScope`` does not
mean that it decides. A subclass that overrides ``has_permission`` may let requests pass, so it
counts only if it is registered itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from rest_framework.permissions import AND, OR, SAFE_METHODS, BasePermission
from rest_framework.request import Request

from ..conf import app_settings

__all__ = ["register"]

#: Set on a request whose credential was accepted, whatever became of ``request.auth``.
AUTHENTICATED: Final = "_apikeys_authenticated"

# Permission classes that check scopes, each with a function that returns the scopes that it
# requires for a request in a view. An empty answer means that nothing is checked.
Declares = Callable[[Any, Request, Any], object]
_scope_permissions: dict[type, Declares] = {}
# The operators whose ``has_permission`` is known, and how many operands must check scopes.
_operators: dict[type, Callable[[Iterable[bool]], bool]] = {AND: any, OR: all}

# The methods of a view that run its permissions and act on their answer.
_DECIDING: Final = frozenset({"dispatch", "initial", "check_permissions", "permission_denied"})


def register(permission_class: type, declares: Declares | None = None) -> None:
    """Count ``permission_class`` among the permissions that check scopes.

    Its own ``has_permission`` must refuse every credential that lacks the required scopes.
    ``declares(permission, request, view)`` returns these scopes. Without it, the class declares
    what its nearest registered base class does. Subclasses count as well, unless they override
    ``has_permission``.
    """
    if declares is None:
        base = next((cls for cls in permission_class.__mro__ if cls in _scope_permissions), None)
        if base is None:
            raise TypeError(
                f"{permission_class.__qualname__} has no registered base class, so register() "
                "needs `declares`."
            )
        declares = _scope_permissions[base]
    _scope_permissions[permission_class] = declares


def register_operator(operator: type, over: Callable[[Iterable[bool]], bool]) -> None:
    """Trust ``operator`` to combine permissions: ``any`` or ``all`` must check scopes."""
    _operators[operator] = over


def checks_scope(request: Request, view: Any) -> bool:
    """Return whether the view's permissions hold every credential to a scope."""
    return find_check(request, view) is not None


def find_check(request: Request, view: Any) -> Any:
    """Return the permission of the view that holds every credential to a scope, or ``None``."""
    if app_settings.DEFAULT_SCOPES and refuses_all(view):
        return None
    for permission in view.get_permissions():
        if _checks(permission, request, view):
            return permission
    return None


def runs_permissions(view: Any) -> bool:
    """Return whether REST framework's own methods run the view's permissions."""
    cls: Any = type(view)
    return _runs_permissions(cls) and _DECIDING.isdisjoint(view.__dict__)


@lru_cache(maxsize=1024)
def _runs_permissions(cls: type) -> bool:
    from rest_framework.views import APIView  # which imports the site's authentication classes

    names = ("__getattribute__", *_DECIDING)
    return all(_static(cls, name) is _static(APIView, name) for name in names)


def _checks(permission: Any, request: Request, view: Any) -> bool:
    if (combines := _operators.get(type(permission))) is None:
        return bool(_declared(permission, request, view))
    return _is_plain(permission) and combines(
        _checks(p, request, view) for p in (permission.op1, permission.op2)
    )


def _declared(permission: Any, request: Request, view: Any) -> object:
    if (declares := _scope_permissions.get(type(permission))) is None:
        registered = _registered(permission)
        if registered is None or _overrides(permission, registered):
            return None
        declares = _scope_permissions[registered]
    elif not _is_plain(permission):
        return None
    declared = declares(permission, request, view)
    # An iterator is true even if it is empty.
    if type(declared) is not tuple and isinstance(declared, Iterator):
        return tuple(declared)
    return declared


def _registered(permission: Any) -> type | None:
    for cls in type(permission).__mro__:
        if cls in _scope_permissions:
            return cls
    return None


def _overrides(permission: Any, registered: type) -> bool:
    """Return whether anything but the ``has_permission`` of ``registered`` decides."""
    cls: Any = type(permission)
    return not _is_plain(permission) or not _runs(cls, registered)


@lru_cache(maxsize=1024)
def _runs(cls: type, registered: type) -> bool:
    """Return whether ``cls`` runs what ``registered`` does, also where that calls ``super()``."""
    expected = [each for each in _definers(registered) if each is not BasePermission]
    return _definers(cls)[: len(expected)] == expected


def _definers(cls: type) -> list[type]:
    return [each for each in cls.__mro__ if "has_permission" in each.__dict__]


_GETATTRIBUTE: Final = object.__getattribute__


def _is_plain(permission: Any) -> bool:
    """Return whether the class of ``permission`` alone says what its ``has_permission`` is."""
    cls: Any = type(permission)
    return cls.__getattribute__ is _GETATTRIBUTE and (
        "has_permission" not in getattr(permission, "__dict__", ())
    )


def _static(cls: type, name: str) -> Any:
    """Return the attribute without running code of the site, such as a property's."""
    return next((each.__dict__[name] for each in cls.__mro__ if name in each.__dict__), None)


def overriding(view: Any) -> list[tuple[type, type]]:
    """Return the view's permissions that override a registered class, each with that class."""
    found = {}
    for permission in view.get_permissions():
        for part in _parts(permission):
            registered = _registered(part)
            if registered is not None and _overrides(part, registered):
                found[type(part)] = registered
    return list(found.items())


def permissions_of(view: Any) -> list[Any]:
    """Return the view's permissions that check scopes, or would if the view declared some."""
    parts = (part for permission in view.get_permissions() for part in _parts(permission))
    return [part for part in parts if _registered(part) is not None]


def declared_scopes(request: Request, view: Any) -> tuple[str, ...]:
    """Return the scopes that the view's permissions require, where they are lists."""
    names: list[str] = []
    for permission in view.get_permissions():
        for part in _parts(permission):
            declared = _declared(part, request, view)
            names += declared if isinstance(declared, list | tuple) else ()
    return tuple(dict.fromkeys(names))


def _parts(permission: Any) -> Iterator[Any]:
    operands = [getattr(permission, name) for name in ("op1", "op2") if hasattr(permission, name)]
    if not operands:
        yield permission
    for operand in operands:
        yield from _parts(operand)


def view_name(view: Any) -> str:
    """Return the dotted name of a view, with the ViewSet's action."""
    cls = type(view)
    # DRF gives a function view only the function's name.
    name = cls.__qualname__ if cls.__qualname__.endswith(cls.__name__) else cls.__name__
    action = getattr(view, "action", None)
    return f"{cls.__module__}.{name}" + (f".{action}" if action else "")


def required_scopes(view: Any, method: str, action: str | None = None) -> tuple[str, ...]:
    """Return the scopes that ``view.required_scopes`` requires for a request.

    It is a list for all requests, or a mapping whose keys are looked up in this order: the
    ViewSet's action, the HTTP method, ``read`` or ``write``. ``HEAD`` and ``OPTIONS`` use
    ``GET`` unless they have an entry. ``DEFAULT_SCOPES`` stands in for a view without it.
    """
    declared = _declaration(view, method, action)
    if isinstance(declared, str):
        return tuple(declared.split())
    return tuple(declared) if isinstance(declared, Iterable) else ()


def says_scopes(view: Any) -> bool:
    """Return whether the view itself has ``required_scopes``."""
    return getattr(view, "required_scopes", None) is not None


def is_open(view: Any, method: str) -> bool:
    """Return whether the view or ``DEFAULT_SCOPES`` has an empty list: no scope is needed."""
    declared = _declaration(view, method, getattr(view, "action", None))
    return isinstance(declared, list | tuple) and not declared


def refuses_all(view: Any) -> bool:
    """Return whether ``DEFAULT_SCOPES`` has ``None``: the view refuses every credential.

    This holds whatever the view and its permissions declare, because a default permission of
    the site would otherwise open a module that the site closed.
    """
    return None in app_settings.DEFAULT_SCOPES.values() and _default(view, ()) is None


def _declaration(view: Any, method: str, action: str | None) -> object:
    declared = getattr(view, "required_scopes", None)
    if declared is None and app_settings.DEFAULT_SCOPES:
        declared = _default(view)
    if isinstance(declared, Mapping):
        return next((declared[key] for key in _keys(method, action) if key in declared), None)
    return declared


def _default(view: Any, otherwise: object = None) -> object:
    """Return the entry of ``DEFAULT_SCOPES`` with the longest name that contains the view."""
    name, defaults = f"{view_name(view)}.", app_settings.DEFAULT_SCOPES
    found = [each for each in defaults if name.startswith(f"{each}.")]
    return defaults[max(found, key=len)] if found else otherwise


def _keys(method: str, action: str | None) -> Iterable[str]:
    method = method.upper()
    if action:
        yield action
    yield from (method, method.lower())
    if method in ("HEAD", "OPTIONS"):
        yield from ("GET", "get")
    yield "read" if method in SAFE_METHODS else "write"
