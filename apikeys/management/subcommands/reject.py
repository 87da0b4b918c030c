from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...records import record
from .. import arguments
from ..terminal import Terminal

HELP = "Revoke a key that awaits approval."


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser)
    parser.add_argument("--reason", help="Why, for whoever asks later.")
    parser.add_argument("--by", metavar="USERNAME", help="The user who rejects it.")


def handle(
    terminal: Terminal, *, public_id: str, reason: str | None, by: str | None, **options: Any
) -> None:
    terminal.require({"--reason": reason})
    key = arguments.find_key(public_id)
    user = arguments.find_user(by) if by else None
    lifecycle.reject(key, by=user, reason=reason or terminal.ask_reason())
    terminal.tell(record(key), f"Rejected {key}: it is revoked.")
