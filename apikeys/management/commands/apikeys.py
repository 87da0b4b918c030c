import re
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ...lifecycle import LifecycleError
from .. import arguments
from ..output import WritingCommand
from ..subcommands import SUBCOMMANDS
from ..terminal import Terminal

_LONG_WORD = re.compile(r"[\w.~+/=-]{24,}")


class _Parser(CommandParser):
    """argparse repeats what it does not understand; a credential must not come out again."""

    def error(self, message: str) -> Any:
        super().error(_LONG_WORD.sub("…", message))


class Command(WritingCommand):
    help = "Personal access tokens and project keys: make, find, rotate, revoke and check them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.__class__ = _Parser
        parsers = parser.add_subparsers(
            dest="subcommand", required=True, title="commands", metavar="COMMAND"
        )
        for name, each in SUBCOMMANDS.items():
            text = f"{each.HELP} {getattr(each, 'MORE', '')}"
            added = parsers.add_parser(name, help=each.HELP, description=text)
            added.add_argument("--json", action="store_true", help="Print JSON, and ask nothing.")
            each.add_arguments(added)

    def handle(self, *args: Any, subcommand: str, **options: Any) -> None:
        terminal = Terminal(self, as_json=options["json"], force_color=options["force_color"])
        try:
            arguments.refuse_secrets(options.values())
            SUBCOMMANDS[subcommand].handle(terminal, **options)
        except LifecycleError as error:
            if terminal.as_json:
                terminal.json({"code": error.code, "detail": error.message, "field": error.field})
            raise CommandError(error.message) from error
