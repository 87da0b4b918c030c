"""The examples that the schema shows: a key, an event, a secret."""

from typing import Any

from ... import audit
from ...keys.facts import FACTS
from ...reach.entries import FACTS as FACTS_OF_ENTRIES

RECORD: dict[str, Any] = {fact.name: fact.example for fact in FACTS}
OF_PROJECT = RECORD | {"kind": "project_key", "name": "server", "user": None}
OF_PROJECT |= {"project": "analytical-engine"}
ENTRY: dict[str, Any] = {fact.name: fact.example for fact in FACTS_OF_ENTRIES} | {"user": "ada"}
EVENT = {fact.name: fact.example for fact in audit.FACTS}
SECRET = {"token": "acme_pat_7k2m4q0x9c1v8b3n_9fQ3…"}
SECRET_OF_PROJECT = {"token": "acme_key_7k2m4q0x9c1v8b3n_9fQ3…"}
PAUSED = {"state": "paused", "paused_at": "2030-01-02T12:00:00+00:00", "paused_by": "ada"}
PAUSED |= {"paused_reason": "Is it in use?"}
REPLACES = {"replaces": "0c5v7b9n1m3k5j7h"}
_UNUSED = {"first_used_at": None, "last_used_at": None, "requests": None}
_USED = {
    "first_used_at": "2030-01-02T12:00:00+00:00",
    "last_used_at": "2030-03-31T12:00:00+00:00",
    "requests": 1234,
}
USES: dict[str, Any] = {
    "days": 90,
    "since": "2030-01-01T12:00:00+00:00",
    "scopes": [
        {"scope": "payments:read", **_USED},
        {"scope": "reports:read", **_UNUSED},
    ],
    "would_keep": ["payments:read"],
    "would_remove": ["reports:read"],
    "would_keep_projects": None,
    "would_remove_projects": [],
    "would_refuse": None,
}
