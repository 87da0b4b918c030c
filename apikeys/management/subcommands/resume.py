from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...keys.facts import record
from .. import arguments
from ..terminal import Terminal

HELP = "Let a paused key work again, also one that is held."


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser)
    arguments.add_by(parser)


def handle(terminal: Terminal, *, public_id: str, by: str | None, **options: Any) -> None:
    key = arguments.find_key(public_id)
    user = arguments.find_user(by) if by else None
    if lifecycle.resume(key, by=user, as_admin=True):
        sentence = f"Resumed {key}. It can be used now."
    else:
        sentence = f"{key} is not paused."
    terminal.show(record(key), sentence)
