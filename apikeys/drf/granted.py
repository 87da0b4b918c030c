"""Remember what a request was granted until its response shows that nothing refused it."""

from typing import Any, Final

from rest_framework.request import Request

#: Set on a request: the scopes that it was granted.
GRANTED: Final = "_apikeys_granted"
#: Set on a request: the primary key of the project of its object; ``""`` for several projects.
PROJECT: Final = "_apikeys_project"
#: Set on a request whose scopes another package's permission checks.
BY_OTHERS: Final = "_apikeys_by_others"
#: Set on a request that a denial refused: the ``usage.denied.Denial``.
DENIED: Final = "_apikeys_denied"


def scopes(request: Request, required: tuple[str, ...]) -> None:
    """Remember that a permission granted ``required``. Operators may ask a permission twice."""
    facts = request.__dict__
    before = facts.setdefault(GRANTED, required)
    if before != required:
        facts[GRANTED] = tuple(dict.fromkeys((*before, *required)))


def project(request: Request, pk: Any) -> None:
    """Remember the project of the request's object by its primary key."""
    facts = request.__dict__
    facts[PROJECT] = pk if facts.get(PROJECT, pk) == pk else ""
