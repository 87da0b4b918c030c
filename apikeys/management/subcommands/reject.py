from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...keys.facts import record
from .. import arguments
from ..terminal import Terminal

HELP = "Reject a key that is pending approval. It is revoked."


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
    lifecycle.reject(key, by=user, reason=reason or terminal.ask_reason())
    terminal.show(record(key), f"Rejected {key}. It is revoked.")
