"""The restrictions that a key may have besides its scopes, projects and expiry: one module each.

Models, lookups, verification, lifecycle and grants loop over ``RESTRICTIONS``. This package
imports no models.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple

from .. import moments
from ..refusals import Refused
from . import direct_use, networks, not_before, rates
from .base import Circumstances, Phase, Restriction, Terms

#: All restrictions, in the order in which they are shown and checked.
RESTRICTIONS: Final[tuple[Restriction, ...]] = (
    not_before.NotBefore(),
    networks.AllowedNetworks(),
    rates.RateLimits(),
    direct_use.DirectUse(),
)


class Columns(not_before.Columns, networks.Columns, rates.Columns, direct_use.Columns):
    """The columns of all restrictions. Named one by one so that they are typed."""

    class Meta:
        abstract = True


@dataclass(slots=True, eq=False, kw_only=True)
class Values:
    """Attributes of an ``Access`` with the values of its key."""

    not_before: datetime | None = None
    allowed_networks: str = ""
    rate_limits: str = ""
    direct_use: bool = True


BY_NAME: Final[dict[str, Restriction]] = {each.name: each for each in RESTRICTIONS}
NAMES: Final = tuple(BY_NAME)
#: The values of a key without restrictions.
EMPTY: Final[tuple[Any, ...]] = tuple(each.empty for each in RESTRICTIONS)
#: Those that are checked after verification, so that they bind what an ``Access`` may grant.
CARRIED: Final = tuple(each for each in RESTRICTIONS if each.phase is not Phase.VERIFY)

#: The codes of their refusals, which only the holder of a key gets.
CODES: Final = frozenset(each.refusal.code for each in RESTRICTIONS)

_POSITIONS: Final = {
    phase: [(at, each) for at, each in enumerate(RESTRICTIONS) if each.phase is phase]
    for phase in Phase
}

_values: Final[Callable[[Any], tuple[Any, ...]]] = attrgetter(*NAMES)


def of(holder: Any) -> tuple[Any, ...]:
    """Return the values of a key or an ``Access``, in the order of ``RESTRICTIONS``.

    Without restrictions, it is ``EMPTY`` itself.
    """
    values = _values(holder)
    return EMPTY if values == EMPTY else values


def bounds(access: Any) -> tuple[Any, ...]:
    """Return the restrictions that limit what ``access`` may grant. The others are empty.

    A verified credential has already passed the restrictions of phase ``VERIFY``.
    """
    return tuple(
        each.empty if each.phase is Phase.VERIFY else value
        for each, value in zip(RESTRICTIONS, of(access), strict=True)
    )


def put(holder: Any, values: tuple[Any, ...]) -> None:
    """Set the columns of a key, or the attributes of an ``Access``, to ``values``."""
    for name, value in zip(NAMES, values, strict=True):
        setattr(holder, name, value)


def both(one: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return values that allow no more than either. Raises ``Refused`` if nothing is left."""
    triples = zip(RESTRICTIONS, one, other, strict=True)
    return tuple(each.both(ours, theirs) for each, ours, theirs in triples)


def covers(bounds: tuple[Any, ...], values: tuple[Any, ...]) -> bool:
    """Return whether ``values`` allow no more than ``bounds``."""
    triples = zip(RESTRICTIONS, bounds, values, strict=True)
    return all(each.covers(bound, value) for each, bound, value in triples)


def parsed(asked: Mapping[str, Any], had: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values ``had``, replaced by the values in ``asked``. Raises ``LifecycleError``."""
    return tuple(
        each.parse(asked[each.name]) if each.name in asked else value
        for each, value in zip(RESTRICTIONS, had, strict=True)
    )


def nonempty(values: tuple[Any, ...]) -> list[tuple[Restriction, Any]]:
    """Return the restrictions that are not empty, each with its value."""
    pairs = zip(RESTRICTIONS, values, strict=True)
    return [(each, value) for each, value in pairs if value != each.empty]


def to_json(holder: Any) -> dict[str, Any]:
    """Return the restrictions of a key or an ``Access`` that are not empty, as JSON."""
    found = {each.name: value for each, value in nonempty(of(holder))}
    return {k: moments.iso(v) if isinstance(v, datetime) else v for k, v in found.items()}


def from_json(found: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of ``to_json``, in the order of ``RESTRICTIONS``."""
    values = tuple(_from_json(each, found.get(each.name, each.empty)) for each in RESTRICTIONS)
    return EMPTY if values == EMPTY else values


def _from_json(restriction: Restriction, value: Any) -> Any:
    if restriction.is_about_time and isinstance(value, str):
        return moments.parse(value)
    return value


class Pause(NamedTuple):
    """Why a live key does not work yet: in a few words, and as a sentence."""

    words: str
    sentence: str


def pauses(values: tuple[Any, ...], now: datetime) -> list[Pause]:
    """Return why a live key with ``values`` does not work yet; empty if it does."""
    return [
        Pause(words, each.sentence(value))
        for each, value in nonempty(values)
        if (words := each.pause(value, now))
    ]


def check_terms(values: tuple[Any, ...], terms: Terms) -> None:
    """Raise ``LifecycleError`` if a key with ``terms`` cannot have ``values``."""
    for each, value in nonempty(values):
        each.check_terms(value, terms)


def check(phase: Phase, values: tuple[Any, ...], circumstances: Circumstances) -> None:
    """Check the restrictions of ``phase`` that are not empty. Raises ``Refused``.

    Skip the call where ``values`` is ``EMPTY``: most keys have no restriction.
    """
    for at, each in _POSITIONS[phase]:
        if values[at] != each.empty:
            each.check(values[at], circumstances)


def passes(values: tuple[Any, ...], circumstances: Circumstances) -> bool:
    """Return whether a key with ``values`` passes verification."""
    try:
        check(Phase.VERIFY, values, circumstances)
    except Refused:
        return False
    return True


def rates_of(access: Any) -> str:
    """Return the rate limits that requests of ``access`` are counted against."""
    found = [
        each.rates(value)
        for _, each in _POSITIONS[Phase.SPEND]
        if (value := getattr(access, each.name)) != each.empty
    ]
    return " ".join(found)
