"""Find the keys that a list names above its rows: keys that end soon, and keys that ended."""

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from ..keys import queries
from ..models import AnyKey
from .filters import SOON, number_of
from .owners import Tokens


@dataclass(frozen=True)
class Lately:
    """Keys that ended within ``SOON`` and were not replaced."""

    number: int
    #: The key, if there is exactly one.
    only: Any = None
    #: The URLs of its page, and of the form that creates its replacement.
    url: str = ""
    copy: str = ""


def expiring_soon(owner: Tokens) -> tuple[list[AnyKey], int]:
    """Return the active keys of ``owner`` that expire within ``SOON``: the first four, how many."""
    now = timezone.now()
    # SQLite uses no index for a bare boolean, so the condition is a list of one value.
    keys = owner.keys().filter(
        revoked_at=None,
        is_pending__in=[False],
        paused_at=None,
        rotated_at=None,
        expires_at__gt=now,
        expires_at__lte=now + SOON,
    )
    first: list[AnyKey] = list(keys.order_by("expires_at")[:4])
    return first, len(first) if len(first) < 4 else number_of(keys)


def expired_lately(owner: Tokens) -> Lately:
    """Return which keys expired. One query for no key or one, else two."""
    now = timezone.now()
    keys = _unreplaced(owner).filter(
        revoked_at=None,
        is_pending__in=[False, True],
        expires_at__gt=now - SOON,
        expires_at__lte=now,
    )
    return _lately(keys, owner)


def rejected_lately(owner: Tokens) -> Lately:
    """Return which requests were rejected. One query for no key or one, else two."""
    keys = _unreplaced(owner).filter(queries.rejected_since(timezone.now() - SOON))
    return _lately(keys.select_related("revoked_by"), owner)


def _unreplaced(owner: Tokens) -> QuerySet[Any]:
    of_owner = {owner.model.OWNER: owner.owner}
    return queries.unreplaced(owner.model._default_manager.filter(**of_owner))


def _lately(keys: QuerySet[Any], owner: Tokens) -> Lately:
    # Unsorted: for an order, a database might walk the keys of all owners.
    first = list(keys.order_by()[:2])
    if len(first) != 1:
        return Lately(number_of(keys) if first else 0)
    (only,) = first
    copy = f"{owner.url('mint')}?from={only.public_id}"
    return Lately(1, only, owner.url("key", only), copy)
