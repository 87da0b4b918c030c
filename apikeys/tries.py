"""Tries are counted in Django's cache before what was tried is looked at.

So many at once are no more than one by one.
"""

import time
from contextlib import suppress
from typing import NamedTuple

from django.core.cache import cache


class Tries(NamedTuple):
    """How many there were in this window, this one included, and what ``give_back`` takes."""

    number: int
    counter: str


def count(name: str, window: int) -> Tries:
    """Count a try of ``name`` in the window of ``window`` seconds that it is in."""
    # The name has the window in it: some caches start a lifetime anew with every `incr`.
    counter = f"apikeys:{name}:{int(time.time() // window)}"
    cache.add(counter, 0, window)
    try:
        return Tries(cache.incr(counter), counter)
    except ValueError:  # it ran out between the two lines, or the cache keeps nothing
        return Tries(1, counter)


def give_back(*counters: str) -> None:
    """What was tried was right."""
    for counter in counters:
        with suppress(ValueError):
            cache.decr(counter)
