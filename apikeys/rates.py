"""How often a key may be used: ``1000/hour``, ``10/second``, ``100/15minute``."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

#: Seconds of each unit.
UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}

_RATE = re.compile(
    r"\s*(\d{1,9})\s*(?:/|\s+per\s+)\s*(\d{1,4})?\s*"
    r"(s|sec|second|m|min|minute|h|hour|d|day)s?\s*",
    re.ASCII | re.IGNORECASE,
)
_BY_LETTER: Final = {unit[0]: unit for unit in UNITS}


class Rate(NamedTuple):
    """So many requests in so many units of time."""

    amount: int
    multiples: int
    unit: str

    @property
    def seconds(self) -> int:
        return self.multiples * UNITS[self.unit]

    def __str__(self) -> str:
        times = "" if self.multiples == 1 else self.multiples
        return f"{self.amount}/{times}{self.unit}"


def parse(text: str) -> Rate:
    """Raises ``ValueError`` for what is no rate."""
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    rate = Rate(int(match[1]), int(match[2] or 1), _BY_LETTER[match[3][0].lower()])
    if not rate.amount or not rate.multiples:
        raise ValueError(text)
    return rate


@lru_cache(maxsize=4096)
def parse_all(text: str) -> tuple[Rate, ...]:
    """Rates from what a key stores, separated by spaces."""
    return tuple(parse(each) for each in text.split())


def join(rates: Iterable[Rate]) -> str:
    """How a key stores them: the shortest time first, each once."""
    return " ".join(map(str, sorted(set(rates), key=lambda rate: (rate.seconds, rate.amount))))
