"""Which scopes a view declares, and whether its permissions really ask for them.

Fail closed: permissions compose with ``|``, ``&`` and ``~``, so that listing ``HasScope``
does not mean that it decides. ``checks_scope`` answers for the whole composition.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rest_framework.permissions import AND, NOT, OR, SAFE_METHODS
from rest_framework.request import Request

# Permission classes that check scopes, each with the question what it has to check for this
# request in this view: nothing is refused.
Declares = Callable[[Any, Request, Any], object]
_scope_permissions: dict[type, Declares] = {}


def register(permission_class: type, declares: Declares) -> None:
    """Count ``permission_class`` and its subclasses among those that check scopes."""
    _scope_permissions[permission_class] = declares


def checks_scope(request: Request, view: Any) -> bool:
    """Whether no request with a credential gets past the view's permissions unscoped."""
    for permission in view.get_permissions():  # noqa: SIM110 - at every request: no generator
        if _checks(permission, request, view):
            return True
    return False


def _checks(permission: Any, request: Request, view: Any) -> bool:
    operator = type(permission)
    if issubclass(operator, (AND, OR)):
        either = (_checks(p, request, view) for p in (permission.op1, permission.op2))
        return any(either) if issubclass(operator, AND) else all(either)
    return not issubclass(operator, NOT) and bool(_declared(permission, request, view))


def _declared(permission: Any, request: Request, view: Any) -> object:
    for cls in type(permission).__mro__:
        if (declares := _scope_permissions.get(cls)) is not None:
            return declares(permission, request, view)
    return None


def declared_scopes(request: Request, view: Any) -> tuple[str, ...]:
    """The scopes that the view's permissions ask for, where they are lists."""
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
    """Where its developer finds it, with the ViewSet's action."""
    cls = type(view)
    # A function's view has the function's name alone.
    name = cls.__qualname__ if cls.__qualname__.endswith(cls.__name__) else cls.__name__
    action = getattr(view, "action", None)
    return f"{cls.__module__}.{name}" + (f".{action}" if action else "")


def required_scopes(view: Any, method: str, action: str | None = None) -> tuple[str, ...]:
    """What ``view.required_scopes`` says for a request; empty if nothing.

    It is a list for all requests, or a mapping whose keys are looked up in this order:
    the ViewSet's action, the HTTP method, ``read`` or ``write``. ``HEAD`` and ``OPTIONS``
    go by ``GET`` where they have no entry of their own.
    """
    declared = getattr(view, "required_scopes", None)
    if isinstance(declared, (list, tuple)):
        return tuple(declared)
    if isinstance(declared, Mapping):
        declared = next((declared[key] for key in _keys(method, action) if key in declared), None)
    if isinstance(declared, str):
        return tuple(declared.split())
    return tuple(declared) if isinstance(declared, Iterable) else ()


def _keys(method: str, action: str | None) -> Iterable[str]:
    method = method.upper()
    if action:
        yield action
    yield from (method, method.lower())
    if method in ("HEAD", "OPTIONS"):
        yield from ("GET", "get")
    yield "read" if method in SAFE_METHODS else "write"
