from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..output import counted
from ..policy_audit import violations
from ..terminal import Terminal

HELP = "List keys that have not ended and that today's policy would refuse to create, and why."
MORE = "Exits with 1 if it finds any."


def add_arguments(parser: CommandParser) -> None:
    pass


def handle(terminal: Terminal, **options: Any) -> None:
    count = 0

    def counting() -> Iterator[dict[str, Any]]:
        nonlocal count
        for each in violations():
            count += 1
            yield each

    if terminal.as_json:
        terminal.json_list(counting())
    else:
        for each in counting():
            owner = each["user"] or each["project"]
            terminal.screen.line(f"{each['id']}  {each['kind']}  {owner}  {each['name']}")
            for violation in each["violations"]:
                terminal.screen.line(f"    {violation['code']}: {violation['detail']}")
    if count:
        raise CommandError(f"Today's policy would refuse to create {counted(count, 'active key')}.")
    terminal.notes.line("Today's policy allows all keys that have not ended.")
