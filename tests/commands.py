"""Walk the management commands of the package, as argparse describes them."""

import argparse
from collections.abc import Iterator

from django.core.management import get_commands, load_command_class


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Return each command of the package with its parser, in alphabetical order."""
    for name, app in sorted(get_commands().items()):
        if isinstance(app, str) and app.split(".")[0] == "apikeys":
            yield name, load_command_class(app, name).create_parser("manage.py", name)


def subcommands(
    name: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Return the subcommands of a command, at any depth, or the command itself if it has none."""
    nested = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not nested:
        yield name, parser
    for action in nested:
        for sub, its_parser in action.choices.items():
            yield from subcommands(f"{name} {sub}", its_parser)


def options() -> list[tuple[str, argparse.Action]]:
    """Return every option and positional argument, each with the name of its subcommand."""
    return [
        (name, action)
        for command in commands()
        for name, parser in subcommands(*command)
        for action in parser._actions
        if action.dest != "help"
    ]
