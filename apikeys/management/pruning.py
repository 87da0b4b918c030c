"""Let optional apps delete their old rows in ``manage.py apikeys prune``."""

from collections.abc import Callable
from datetime import timedelta

#: Functions that delete what was not used for the given time, and return how many rows.
_pruners: list[Callable[[timedelta], int]] = []


def register(pruner: Callable[[timedelta], int]) -> None:
    """Call ``pruner`` with the ``--unused`` of each run of the command."""
    if pruner not in _pruners:
        _pruners.append(pruner)


def prune(unused: timedelta) -> int:
    """Call all pruners. Return how many rows they deleted."""
    return sum(pruner(unused) for pruner in _pruners)
