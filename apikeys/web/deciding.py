"""Find the requests that a user may approve: pending keys, and tokens that wait for a project."""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, NamedTuple

from django.core.cache import cache
from django.db.models import QuerySet

from ..databases import tenants
from ..models import KEY_MODELS, AnyKey, ProjectRules, live
from ..policy import get_policy, overrides
from ..reach import requests

logger = logging.getLogger("apikeys")

_MOST: Final = 100
_REMEMBERED: Final = 60  # seconds


class Waiting(NamedTuple):
    """How many tokens wait for a user to approve them in a project."""

    #: Up to 100.
    number: int
    #: Whether the user may approve tokens in any project.
    decides: bool


def number_to_decide(user: Any, waiting: int) -> int:
    """Return the number of requests that ``user`` may approve, up to 100.

    ``waiting`` of them are of tokens in a project. Takes one query for each kind of key while no
    key is pending.
    """
    policy, number = get_policy(), 0
    for model in KEY_MODELS.values():
        # SQLite uses no index for a bare boolean, so the condition is a list of one value.
        pending = model._default_manager.filter(live(), is_pending__in=[True]).order_by()
        if pending.exists():
            number += policy.approvable(user, pending).values("pk")[: _MOST - number].count()
    return min(number + waiting, _MOST)


def waiting_for(user: Any, projects: Callable[[], Collection[Any]], *, fresh: bool) -> Waiting:
    """Return how many tokens wait for ``user`` in ``projects``.

    Counting takes long in large projects, so the answer is remembered for a minute in Django's
    default cache. Unless ``fresh``, this takes one query then, and also if no project requires
    approval.
    """
    if not fresh:
        if not requests.rules_requiring_approval().exists():
            return Waiting(0, decides=False)
        if (known := _recall(user)) is not None:
            return known
    found = projects()
    waiting = Waiting(requests.number(found, _MOST), decides=bool(found))
    with _cache_may_fail():
        cache.set(_name(user), tuple(waiting), _REMEMBERED)
    return waiting


def forget(user: Any) -> None:
    """Count again how many tokens wait for ``user``, after a decision."""
    with _cache_may_fail():
        cache.delete(_name(user))


def _recall(user: Any) -> Waiting | None:
    known = None
    with _cache_may_fail():
        known = cache.get(_name(user))
    return None if known is None else Waiting(*known)


def _name(user: Any) -> str:
    return f"apikeys:waiting:{tenants.prefix_of(ProjectRules)}{user.pk}"


@contextmanager
def _cache_may_fail() -> Iterator[None]:
    try:
        yield
    except Exception:
        logger.exception("The cache did not answer, so pending tokens are counted again.")


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
    also checks each key.
    """
    policy = get_policy()
    found: Iterator[AnyKey] = policy.approvable(user, pending).iterator(chunk_size=100)
    if overrides(policy, "approvable", "may_approve", "may_manage_keys", "roles"):
        # Filter before slicing. Otherwise the keys of others could fill the page.
        found = (key for key in found if policy.may_approve(user, key))
    return list(islice(found, most))
