"""Parse rate limits such as ``1000/hour``, ``10/second`` and ``100/15minute``.

The library ``limits`` can parse them too, but it is an optional extra.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

#: Seconds of each unit.
UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}

# Matches text with single spaces only.
_RATE = re.compile(
    r"(\d{1,9})(?: ?/ ?| per )(\d{1,4})? ?(s|sec|second|m|min|minute|h|hour|d|day)s?",
    re.ASCII | re.IGNORECASE,
)
_LONGEST: Final = 100  # characters
_BY_LETTER: Final = {unit[0]: unit for unit in UNITS}


class Rate(NamedTuple):
    """A number of requests in a number of units of time."""

    amount: int
    multiples: int
    unit: str

    @property
    def seconds(self) -> int:
        """The length of the window in seconds."""
        return self.multiples * UNITS[self.unit]

    def __str__(self) -> str:
        times = "" if self.multiples == 1 else self.multiples
        return f"{self.amount}/{times}{self.unit}"


def parse(text: str) -> Rate:
    """Parse a rate limit. Raise ``ValueError``."""
    match = None if len(text) > _LONGEST else _RATE.fullmatch(" ".join(text.split()))
    if match is None:
        raise ValueError(text)
    rate = Rate(int(match[1]), int(match[2] or 1), _BY_LETTER[match[3][0].lower()])
    if not rate.amount or not rate.multiples:
        raise ValueError(text)
    return rate


@lru_cache(maxsize=4096)
def parse_all(text: str) -> tuple[Rate, ...]:
    """Parse rate limits separated by spaces, as stored in a key."""
    return tuple(parse(each) for each in text.split())


def join(rates: Iterable[Rate]) -> str:
    """Return the rate limits as text for storage in a key: unique, shortest window first."""
    return " ".join(map(str, sorted(set(rates), key=lambda rate: (rate.seconds, rate.amount))))
