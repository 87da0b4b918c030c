"""Match a text against a pattern with ``*`` in linear time.

``*`` matches any characters except ``/``, and ``**`` matches any characters. Nothing else has a
meaning, so a pattern without ``*`` matches only itself.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

_STARS: Final = re.compile(r"\*+")


class _Machine(NamedTuple):
    """The positions of a pattern as bits: where a character leads, and where it may stay."""

    literals: dict[str, int]
    #: Positions of ``*`` and ``**``, and of ``**`` alone.
    stars: int
    deep: int
    end: int


def is_glob(pattern: str) -> bool:
    """Return whether ``pattern`` contains ``*``."""
    return "*" in pattern


def is_open(pattern: str) -> bool:
    """Return whether ``pattern`` begins with ``*``, and so matches texts of anybody's choice."""
    return pattern.startswith("*")


def matches(pattern: str, text: str) -> bool:
    """Return whether the whole ``text`` matches ``pattern``.

    The time grows with the length of ``text`` alone: all positions of the pattern are followed
    at once, as bits of one number.
    """
    if not is_glob(pattern):
        return pattern == text
    literals, stars, deep, end = _machine(pattern)
    at = _past(1, stars)
    for character in text:
        stays = at & (deep if character == "/" else stars)
        at = _past(stays | ((at & literals.get(character, 0)) << 1), stars)
        if not at:
            return False
    return bool(at & end)


def covers(pattern: str, other: str) -> bool:
    """Return whether ``pattern`` matches everything that ``other`` matches.

    May return ``False`` for two patterns that differ. It never returns ``True`` wrongly.
    """
    if pattern == other:
        return True
    return not is_glob(other) and matches(pattern, other)


def _past(at: int, stars: int) -> int:
    """Add the positions behind stars, which may match nothing. No two stars are adjacent."""
    return at | ((at & stars) << 1)


@lru_cache(maxsize=1024)
def _machine(pattern: str) -> _Machine:
    literals: dict[str, int] = {}
    stars = deep = position = index = 0
    while index < len(pattern):
        bit = 1 << position
        if run := _STARS.match(pattern, index):
            stars |= bit
            deep |= bit if len(run[0]) > 1 else 0
            index = run.end()
        else:
            literals[pattern[index]] = literals.get(pattern[index], 0) | bit
            index += 1
        position += 1
    return _Machine(literals, stars, deep, 1 << position)
