from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...records import record
from .. import arguments
from ..terminal import Terminal

HELP = "Let a key be used that awaits approval."


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser)
    parser.add_argument("--by", metavar="USERNAME", help="The user who approves it.")


def handle(terminal: Terminal, *, public_id: str, by: str | None, **options: Any) -> None:
    key = arguments.find_key(public_id)
    lifecycle.approve(key, by=arguments.find_user(by) if by else None)
    terminal.tell(record(key), f"Approved {key}: it may be used from now on.")
