"""Answer browsers whether a page of another origin may use a route (CORS).

A browser sends a preflight without a credential. So only the gateway answers it, and the upstream
never gets it.
"""

import re
from collections.abc import Mapping
from typing import Final, cast

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import DatabaseError
from django.views.decorators.debug import sensitive_variables

from .. import refusals
from ..drf import refuse
from . import paths, routes
from .decide import in_thread
from .original import Original

#: Seconds for which a browser may use the answer to a preflight.
_MAX_AGE: Final = 600
#: The header fields of a response that a page may read, besides a few safe ones.
_EXPOSED: Final = "RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate"
_PLANNED: Final = "Access-Control-Request-Method"
_REQUESTED: Final = "Access-Control-Request-Headers"
_NAMES: Final = re.compile(r"[A-Za-z0-9-]+(?: ?, ?[A-Za-z0-9-]+)*")
_LONGEST: Final = 1000


def is_preflight(original: Original, headers: Mapping[str, str]) -> bool:
    """Return whether a browser asks if it may send a request."""
    is_asked = original.method == "OPTIONS" and not original.authorization
    return is_asked and bool(original.origin) and _PLANNED in headers


@sensitive_variables("original")
def preflight(original: Original, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the header fields that answer a preflight. Raise ``RefusedException``.

    The answer depends on the routes alone: the browser sends the credential later.
    """
    planned = headers.get(_PLANNED, "")
    if not is_preflight(original, headers) or not _allows(original, planned):
        raise refuse(refusals.ORIGIN_NOT_ALLOWED)
    requested = headers.get(_REQUESTED, "")
    known = len(requested) <= _LONGEST and _NAMES.fullmatch(requested)
    return {
        "Access-Control-Allow-Origin": original.origin,
        "Access-Control-Allow-Methods": planned,
        # The proxy removes from a request what no client may send.
        **({"Access-Control-Allow-Headers": requested} if known else {}),
        "Access-Control-Max-Age": str(_MAX_AGE),
        "Cache-Control": "no-store",
        "Vary": f"Origin, {_PLANNED}, {_REQUESTED}",
    }


async def apreflight(original: Original, headers: Mapping[str, str]) -> dict[str, str]:
    """Return and raise the same as ``preflight``, in an event loop."""
    try:
        return preflight(original, headers)
    except SynchronousOnlyOperation:
        return cast("dict[str, str]", await in_thread(preflight, original, headers))


@sensitive_variables("original")
def fields(original: Original | None) -> dict[str, str]:
    """Return the header fields that let a page read the response, allowed or refused."""
    if original is None or not original.origin:
        return {}
    try:
        if not _allows(original, original.method):
            return {}
    except (DatabaseError, ImproperlyConfigured):  # an invalid route allows nothing
        return {}
    return {
        "Access-Control-Allow-Origin": original.origin,
        "Access-Control-Expose-Headers": _EXPOSED,
        "Vary": "Origin",
    }


async def afields(original: Original | None) -> dict[str, str]:
    """Return the same as ``fields``, in an event loop."""
    try:
        return fields(original)
    except SynchronousOnlyOperation:
        return cast("dict[str, str]", await in_thread(fields, original))


@sensitive_variables("original")
def _allows(original: Original, method: str) -> bool:
    """Return whether all routes that decide about the request allow its origin."""
    if not paths.is_method(method):
        return False
    try:
        target = paths.parse(original.target)
    except paths.Ambiguous:
        return False
    matching = routes.find(method, target)
    return bool(matching) and all(rule.allows_origin(original.origin) for rule, _ in matching)
