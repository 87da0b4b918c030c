"""Find the requests that a user may approve: pending keys, and tokens that wait for a project."""

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, Final

from django.db.models import QuerySet

from ..models import KEY_MODELS, AnyKey, live
from ..policy import Policy, get_policy
from ..reach import requests

_MOST: Final = 100


def number_to_decide(user: Any, projects: Collection[Any]) -> int:
    """Return the number of requests that ``user`` may approve, up to 100.

    ``projects`` are those in which the user may approve tokens. Takes one query for each kind of
    key while no key is pending, and one for each 100 projects.
    """
    policy, number = get_policy(), 0
    for model in KEY_MODELS.values():
        # SQLite uses no index for a bare boolean, so the condition is a list of one value.
        pending = model._default_manager.filter(live(), is_pending__in=[True]).order_by()
        if pending.exists():
            number += policy.approvable(user, pending).values("pk")[: _MOST - number].count()
    return number + requests.number(projects, _MOST - number)


def decides(user: Any) -> bool:
    """Return whether ``user`` is one who may approve keys, even if none is pending."""
    policy = get_policy()
    if not policy.roles(user).isdisjoint(policy.managing_roles):
        return True
    names = (f"apikeys.change_{model._meta.model_name}" for model in KEY_MODELS.values())
    return hasattr(user, "has_perm") and any(map(user.has_perm, names))


def first_approvable(user: Any, pending: QuerySet[Any], most: int) -> list[AnyKey]:
    """Return the first ``pending`` keys that ``user`` may approve.

    ``approvable`` selects them in one query. A policy that overrides one of the methods behind it
    is asked about each key too.
    """
    policy = get_policy()
    found: Iterator[AnyKey] = policy.approvable(user, pending).iterator(chunk_size=100)
    own = type(policy)
    methods = (own.approvable, own.may_approve, own.may_manage_keys, own.roles)
    if methods != (Policy.approvable, Policy.may_approve, Policy.may_manage_keys, Policy.roles):
        # Filter before slicing. Otherwise the keys of others could fill the page.
        found = (key for key in found if policy.may_approve(user, key))
    return list(islice(found, most))
