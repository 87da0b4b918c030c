from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...keys.facts import record
from .. import arguments
from ..terminal import Terminal

HELP = "Approve a key that is pending approval."


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser)
    arguments.add_by(parser)


def handle(terminal: Terminal, *, public_id: str, by: str | None, **options: Any) -> None:
    key = arguments.find_key(public_id)
    lifecycle.approve(key, by=arguments.find_user(by) if by else None)
    terminal.show(record(key), f"Approved {key}. It can be used now.")
