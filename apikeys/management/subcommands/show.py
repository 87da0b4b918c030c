from typing import Any

from django.core.management.base import CommandParser

from ...keys.facts import record
from .. import arguments
from ..terminal import Terminal

HELP = "Show a key in full, except for its secret."


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser)


def handle(terminal: Terminal, *, public_id: str, **options: Any) -> None:
    key = arguments.find_key(public_id)
    chain = [each.public_id for each in key.chain()]
    shown = chain if terminal.as_json else " -> ".join(chain)
    terminal.show_facts(record(key) | {"rotation_chain": shown})
