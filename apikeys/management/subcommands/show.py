from typing import Any

from django.core.management.base import CommandParser

from ...records import record
from .. import arguments
from ..terminal import Terminal

HELP = "Show all there is to know about a key but its secret."


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser)


def handle(terminal: Terminal, *, public_id: str, **options: Any) -> None:
    key = arguments.find_key(public_id)
    chain = [each.public_id for each in key.chain()]
    shown = chain if terminal.as_json else " -> ".join(chain)
    terminal.tell_facts(record(key) | {"rotation_chain": shown})
