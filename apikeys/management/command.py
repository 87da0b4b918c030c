"""A management command with subcommands, each of which takes ``--json``."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser

from ..errors import LifecycleError
from . import arguments
from .output import WritingCommand
from .terminal import Terminal

_LONG_WORD = re.compile(r"[\w.~+/=-]{24,}")


class _Parser(CommandParser):
    """Leave long words out of error messages, which repeat the input: it may be a credential."""

    def error(self, message: str) -> Any:
        super().error(_LONG_WORD.sub("…", message))


class CommandWithSubcommands(WritingCommand):
    """A command whose subcommands are modules, named in ``subcommands``.

    A module has ``HELP`` (a sentence), optionally ``MORE`` (further sentences),
    ``add_arguments(parser)`` and ``handle(terminal, **options)``. A ``LifecycleError`` that
    ``handle`` raises is printed, and ends the command with exit status 1.
    """

    subcommands: ClassVar[Mapping[str, Any]]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.__class__ = _Parser
        parsers = parser.add_subparsers(
            dest="subcommand", required=True, title="commands", metavar="COMMAND"
        )
        for name, each in self.subcommands.items():
            text = f"{each.HELP} {getattr(each, 'MORE', '')}".strip()
            added = parsers.add_parser(name, help=each.HELP, description=text)
            added.add_argument("--json", action="store_true", help="Print JSON and never ask.")
            each.add_arguments(added)

    def handle(self, *args: Any, subcommand: str, **options: Any) -> None:
        terminal = Terminal(self, as_json=options["json"], force_color=options["force_color"])
        try:
            arguments.refuse_secrets(options.values())
            self.subcommands[subcommand].handle(terminal, **options)
        except LifecycleError as error:
            if terminal.as_json:
                terminal.json({"code": error.code, "detail": error.message, "field": error.field})
            raise CommandError(error.message) from error
