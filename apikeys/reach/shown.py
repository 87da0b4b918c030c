"""Compare what a page showed of a credential in a project with what is stored at the decision."""

import json
from typing import Any, Final, NamedTuple

from django.utils.crypto import salted_hmac

from .. import moments, restrictions
from ..keys.facts import KINDS
from ..models import AnyKey, ProjectAccess
from ..restrictions import RESTRICTIONS
from .entries import Entry

_SALT: Final = "apikeys.reach.shown"
_LENGTH: Final = 20

#: The decision about a token that is pending approval in the project: none.
_AWAITS: Final = "awaits"


class Shown(NamedTuple):
    """The decision about a credential, and a digest of its facts."""

    decision: str
    facts: str = ""

    def __str__(self) -> str:
        return f"{self.decision} {self.facts}"

    @classmethod
    def parse(cls, text: str) -> "Shown":
        """Return what the hidden field of a form says. Text by others matches nothing."""
        decision, _space, facts = text.partition(" ")
        return cls(decision, facts)

    @classmethod
    def pending(cls, facts: str = "") -> "Shown":
        """Return this of a token that is pending approval in the project."""
        return cls(_AWAITS, facts)

    @classmethod
    def of(cls, entry: Entry) -> "Shown":
        """Return this of ``entry``. Takes one query for a key."""
        model: Any = KINDS.get(entry.decided_as)
        rows = model._default_manager.filter(public_id=entry.id) if model is not None else None
        key = rows.first() if rows is not None else None
        return cls(decision_of(entry.decision, awaits=entry.awaits), facts_of(key, entry.scope))


def decision_of(row: ProjectAccess | None, *, awaits: bool) -> str:
    """Return a word for a decision. It has no spaces, and differs for each decision."""
    if row is None:
        return _AWAITS if awaits else "none"
    if not row.is_denied:
        return f"allowed@{row.at.isoformat()}"
    return f"{'rejected' if row.is_rejected else 'denied'}@{row.at.isoformat()}"


def facts_of(key: AnyKey | None, scope: str) -> str:
    """Return a digest of the scopes, expiry and restrictions of ``key``.

    ``scope`` is that of an application, which has no key.
    """
    facts: list[Any] = [scope]
    if key is not None:
        facts = [key.scope, moments.iso(key.expires_at) if key.expires_at else None, key.trust]
        values = restrictions.of(key)
        facts += [each.as_json(value) for each, value in zip(RESTRICTIONS, values, strict=True)]
    text = json.dumps(facts, sort_keys=True, default=str)
    return salted_hmac(_SALT, text, algorithm="sha256").hexdigest()[:_LENGTH]
