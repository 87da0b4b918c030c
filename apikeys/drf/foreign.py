"""Refuse a credential that a permission cannot read, because it expects its own token.

A permission of another package may read ``request.auth.application`` or ``request.auth["sub"]``,
which an ``Access`` does not have. The request must not end in a 500 that names no cause.
"""

import logging
from typing import Final

from rest_framework.permissions import BasePermission

from .. import refusals
from ..acceptance import function_name
from ..access import Access
from ..databases import unavailable
from ..refusals import Refusal

logger = logging.getLogger("apikeys")

_LOG: Final = (
    "%s refused the %s %s, because it expects another object in request.auth: %r. Do not list it "
    "in views that accept keys, or let it check isinstance(request.auth, apikeys.access.Access)."
)
#: The name of the permission, in its own methods and in a function of ``register()``.
_NAMES: Final = ("self", "permission")


def in_permission(error: Exception, access: Access) -> Refusal | None:
    """Return the refusal if a permission failed to read ``access``, and log the permission.

    Returns ``None`` for every other exception. The writes of the request are rolled back.
    """
    if not _misses(error) or (permission := _permission_of(error)) is None:
        return None
    kind = access.kind.replace("_", " ")
    logger.warning(_LOG, function_name(permission), kind, access.credential_id, str(error))
    unavailable.roll_back()
    return refusals.CREDENTIAL_NOT_ACCEPTED


def _misses(error: Exception) -> bool:
    """Return whether ``error`` says that an ``Access`` lacks an attribute or an item."""
    if isinstance(error, AttributeError):
        return isinstance(error.obj, Access)
    return isinstance(error, TypeError) and f"'{Access.__name__}'" in str(error)


def _permission_of(error: Exception) -> type | None:
    """Return the class of the innermost permission that was running."""
    found, trace = None, error.__traceback__
    while trace is not None:
        values = (trace.tb_frame.f_locals.get(name) for name in _NAMES)
        found = next((type(each) for each in values if isinstance(each, BasePermission)), found)
        trace = trace.tb_next
    return found
