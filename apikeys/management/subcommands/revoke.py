from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...models import State
from ...records import record
from .. import arguments
from ..output import show
from ..terminal import Terminal

HELP = "End a key now, for good."


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser)
    parser.add_argument("--reason", help="Why, for whoever asks later.")
    parser.add_argument("--by", metavar="USERNAME", help="The user who revokes it.")


def handle(
    terminal: Terminal, *, public_id: str, reason: str | None, by: str | None, **options: Any
) -> None:
    terminal.require({"--reason": reason})
    key = arguments.find_key(public_id)
    user = arguments.find_user(by) if by else None
    terminal.preview("To be revoked", key)
    revoked = lifecycle.revoke(key, by=user, reason=reason or terminal.ask_reason())
    facts = record(key)
    if revoked:
        sentence = f"Revoked {key}: every request with it is refused from now on."
    else:
        when = show("revoked_at", facts["revoked_at"])
        sentence = f"{key} was revoked already, at {when}, and that stays so: {key.revoked_reason}"
    terminal.tell(facts, sentence)
    for other in key.chain():
        if other.state() is State.LIVE:
            terminal.notes.line(f"{other.public_id}, of the same chain of rotations, is live.")
