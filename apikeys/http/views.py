"""Find what the view of a URL declares about credentials, in any framework."""

import sys
from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest
from django.urls import Resolver404, resolve


def scopes_of(request: HttpRequest) -> tuple[str, ...]:
    """Return the scopes that the view of a refused request requires, where they are a list."""
    try:
        callback = resolve(request.path_info, getattr(request, "urlconf", None)).func
    except Resolver404:
        return ()
    for operation in ninja_operations(callback):
        if request.method in operation.methods:
            return next((tuple(auth.scopes) for auth in key_auths(operation)), ())
    declared: Any = getattr(callback, "required_scopes", None)
    if declared is None:
        declared = getattr(class_of(callback), "required_scopes", None)
    return tuple(declared) if isinstance(declared, list | tuple) else ()


def accepts_of(callback: Any, method: str) -> Any:
    """Return the ``accepts`` of the view at a URL; ``None`` if it declares none."""
    for operation in ninja_operations(callback):
        if method in operation.methods:
            return next((auth.accepts for auth in key_auths(operation)), None)
    given = arguments_of(callback).get("accepts", getattr(callback, "accepts", None))
    return getattr(class_of(callback), "accepts", None) if given is None else given


def class_of(callback: Any) -> Any:
    """Return the class of a view; ``None`` for a function."""
    return getattr(callback, "cls", None) or getattr(callback, "view_class", None)


def arguments_of(callback: Any) -> dict[str, Any]:
    """Return the arguments of ``as_view()``."""
    given = getattr(callback, "initkwargs", None) or getattr(callback, "view_initkwargs", None)
    return given or {}


def ninja_operations(callback: Any) -> Iterator[Any]:
    """Yield the operations of django-ninja behind a URL. Its views are closures."""
    if "ninja.operation" not in sys.modules:
        return
    from ninja.operation import PathView

    for cell in getattr(callback, "__closure__", None) or ():
        try:
            found = cell.cell_contents
        except ValueError:  # the cell is empty
            continue
        if isinstance(found, PathView):
            yield from found.operations


def key_auths(operation: Any) -> Iterator[Any]:
    """Yield the authenticators of an operation that accept credentials of this package."""
    module = sys.modules.get("apikeys.ninja")
    if module is not None:
        yield from (each for each in operation.auth_callbacks if isinstance(each, module.KeyAuth))
