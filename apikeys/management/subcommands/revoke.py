from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...keys.facts import record
from ...models import State
from .. import arguments
from ..output import show
from ..terminal import Terminal

HELP = "Revoke a key, now and permanently."


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser)
    arguments.add_reason(parser)
    arguments.add_by(parser)


def handle(
    terminal: Terminal, *, public_id: str, reason: str | None, by: str | None, **options: Any
) -> None:
    terminal.require({"--reason": reason})
    key = arguments.find_key(public_id)
    user = arguments.find_user(by) if by else None
    terminal.preview("Key to revoke", key)
    revoked = lifecycle.revoke(key, by=user, reason=reason or terminal.ask_reason())
    facts = record(key)
    if revoked:
        sentence = f"Revoked {key}. Every request with it is now refused."
    else:
        when = show("revoked_at", facts["revoked_at"])
        sentence = f"{key} was already revoked at {when}: {key.revoked_reason}"
    terminal.show(facts, sentence)
    for other in key.chain():
        if other.state() is State.LIVE:
            terminal.notes.line(
                f"{other.public_id}, from the same chain of rotations, is still active."
            )
