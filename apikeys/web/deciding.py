"""Find out whether a user decides on pending keys, and how many wait for that user."""

from typing import Any, Final

from ..models import KEY_MODELS, live
from ..policy import get_policy

_MOST: Final = 100


def number_to_decide(user: Any) -> int:
    """Return the number of pending keys that ``user`` may approve, up to 100.

    Takes one query for each kind of key while no key is pending.
    """
    policy, number = get_policy(), 0
    for model in KEY_MODELS.values():
        # SQLite uses no index for a bare boolean, so the condition is a list of one value.
        pending = model._default_manager.filter(live(), is_pending__in=[True]).order_by()
        if pending.exists():
            number += policy.approvable(user, pending).values("pk")[: _MOST - number].count()
    return number


def decides(user: Any) -> bool:
    """Return whether ``user`` is one who may approve keys, even if none is pending."""
    policy = get_policy()
    if not policy.roles(user).isdisjoint(policy.managing_roles):
        return True
    names = (f"apikeys.change_{model._meta.model_name}" for model in KEY_MODELS.values())
    return hasattr(user, "has_perm") and any(map(user.has_perm, names))
