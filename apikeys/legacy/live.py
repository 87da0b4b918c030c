"""Follow the table of another package while it still creates and deletes keys (``LIVE``).

A key that the table has is imported at its first use. A key that the table no longer has, or
that has another owner there, is refused at the next request. ``apikeys.importing.live`` reads the
table: it is above this package.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from django.views.decorators.debug import sensitive_variables

from .. import refusals, scopes
from ..access import Access
from ..refusals import Refusal, Refused
from . import options, texts

#: The refusal of a key that the other package would refuse, by the reason to skip it.
_REFUSALS: Final = {
    "expired": refusals.EXPIRED_KEY,
    "inactive_user": refusals.INACTIVE_USER,
    "inactive_project": refusals.INACTIVE_PROJECT,
    "revoked": refusals.REVOKED_KEY,
}


class Follower(NamedTuple):
    """The functions of ``apikeys.importing.live``."""

    #: Return the candidate of a text in the table of a scheme, or ``None``.
    find: Callable[[str, str], Any]
    #: Import a candidate; return whether it was imported.
    take_in: Callable[[str, Any], bool]
    #: Return whether a candidate of a scheme has the owner of an ``Access``.
    has_owner: Callable[[str, Any, Any], bool]
    #: Revoke the key with this kind and primary key. ``moved``: it has another owner now.
    end: Callable[[str, str, Any, bool], None]
    #: Return what is wrong with the table of a scheme; empty if it can be read.
    problem: Callable[[str], str]


_followers: list[Follower] = []


def register(follower: Follower) -> None:
    """Register the functions that read the tables. Called when Django is ready."""
    _followers[:] = [follower]


def is_live(scheme: str) -> bool:
    """Return whether a scheme follows the table of its package."""
    return bool(_followers) and options.live_of(scheme) is not None


def check_table(scheme: str) -> None:
    """Raise ``ValueError`` if a scheme follows a table that cannot be read."""
    if is_live(scheme) and (problem := _followers[0].problem(scheme)):
        raise ValueError(f"LIVE of {scheme!r} cannot read its table. {problem}")


@sensitive_variables("text")
def find(scheme: str, text: str) -> Any:
    """Return the candidate of ``text`` in the table of a live scheme, or ``None``.

    If ``slow_hash`` returns a hash, check ``text`` with it before you use the candidate.
    """
    return _followers[0].find(scheme, text) if is_live(scheme) else None


@sensitive_variables("candidate")
def slow_hash(scheme: str, candidate: Any) -> str:
    """Return the slow hash of a candidate that was found by its public prefix alone, or ``""``."""
    if candidate.text or options.hook_of(scheme) is not None:
        return ""
    return candidate.hash if texts.is_slow(candidate.hash) else ""


@sensitive_variables("candidate")
def take_in(scheme: str, candidate: Any) -> bool:
    """Import a candidate with a checked secret. Return whether it was imported.

    Raise ``Refused`` if the other package would refuse it.
    """
    _check(candidate)
    return _followers[0].take_in(scheme, candidate)


@sensitive_variables("text", "candidate")
def check(scheme: str, text: str, kind: str, pk: Any) -> Any:
    """Return the candidate of the imported key ``text``; ``None`` if its scheme is not live.

    If the table no longer has the key, revoke it and raise ``Refused`` (``revoked_key``).
    """
    if not is_live(scheme):
        return None
    candidate = find(scheme, text)
    if candidate is None or (candidate.skip is not None and candidate.skip.reason == "revoked"):
        _followers[0].end(scheme, kind, pk, False)
        raise Refused(refusals.REVOKED_KEY)
    _check(candidate)
    return candidate


@sensitive_variables("candidate")
def limit(scheme: str, candidate: Any, access: Access, kind: str, pk: Any) -> None:
    """Remove the scopes that a key no longer has in the table of a live scheme.

    If it has another owner there, revoke it and raise ``Refused`` (``revoked_key``).
    """
    if not _followers[0].has_owner(scheme, candidate, access):
        _followers[0].end(scheme, kind, pk, True)
        raise Refused(refusals.REVOKED_KEY)
    if candidate.scopes:
        access.scope = scopes.narrow(access.scope, scopes.join(candidate.scopes))


def _check(candidate: Any) -> None:
    if candidate.skip is not None:
        refusal: Refusal = _REFUSALS.get(candidate.skip.reason, refusals.INVALID_KEY)
        raise Refused(refusal)
