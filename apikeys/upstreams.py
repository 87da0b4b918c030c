"""Check the origins of a credential: the users and OAuth clients that created it."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.db import router

from .models.owners import is_active

#: Returns whether all OAuth clients that created a credential are active.
Upstream = Callable[[str], bool]
_upstreams: list[Upstream] = []


def register(are_active: Upstream) -> None:
    """Register ``are_active``, which checks the OAuth clients that created a credential."""
    if are_active not in _upstreams:
        _upstreams.append(are_active)


def are_active(upstream: str) -> bool:
    """Return whether all origins of a credential are active. Otherwise it is refused."""
    pks = [name.partition(":")[2] for name in upstream.split() if name.startswith("user:")]
    if pks:
        model: Any = get_user_model()
        # Not from a replica, which may lag.
        users = list(model._default_manager.using(router.db_for_write(model)).filter(pk__in=pks))
        if len(users) < len(pks) or not all(map(is_active, users)):
            return False
    return all(are_active(upstream) for are_active in _upstreams)
