"""Read long lists from a replica (``LISTS_FROM``).

Nothing is decided by such a row: verification, permissions, forms and changes read the primary.
"""

import time
from typing import Any, Final, TypeVar

from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet

from ..conf.replicas import replica_settings
from .tenants import place_of

Q = TypeVar("Q", bound=QuerySet[Any, Any])

#: For so many seconds after a change, the lists of the same session are read from the primary.
FRESH: Final = 60
_CHANGED_AT: Final = "apikeys_changed_at"
_READING: Final = ("GET", "HEAD", "OPTIONS", "TRACE")


def for_list(rows: Q, request: Any = None) -> Q:
    """Return ``rows``, read from ``LISTS_FROM`` if the site sets it.

    Pass the ``request`` of a session, so that a user finds in a list what they have just changed.
    A request that may change rows reads the primary. So does a tenant with its own database or
    schema, because the replica would show the rows of another tenant.
    """
    alias = replica_settings.LISTS_FROM
    if alias is None or (request is not None and _is_fresh(request)):
        return rows
    if place_of(rows.model) != (DEFAULT_DB_ALIAS, ""):
        return rows
    return rows.using(alias)


def note_change(request: Any) -> None:
    """Remember in the session that its user may have changed something, unless it only reads."""
    if (
        replica_settings.LISTS_FROM is not None
        and request.method not in _READING
        and request.user.is_authenticated
    ):
        request.session[_CHANGED_AT] = int(time.time())


def _is_fresh(request: Any) -> bool:
    changed = request.session.get(_CHANGED_AT)
    # The clock may have been set back.
    return request.method not in _READING or (
        changed is not None and abs(time.time() - changed) < FRESH
    )
