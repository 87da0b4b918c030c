from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..policy_audit import violations
from ..terminal import Terminal

HELP = "List keys that the policy of today would not let be made, and why."
MORE = "Exits with 1 if there are any."


def add_arguments(parser: CommandParser) -> None:
    pass


def handle(terminal: Terminal, **options: Any) -> None:
    count = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal count
        for each in violations():
            count += 1
            yield each

    if terminal.as_json:
        terminal.json_list(counted())
    else:
        for each in counted():
            owner = each["user"] or each["project"]
            terminal.screen.line(f"{each['id']}  {each['kind']}  {owner}  {each['name']}")
            for violation in each["violations"]:
                terminal.screen.line(f"    {violation['code']}: {violation['detail']}")
    if count:
        raise CommandError(f"{count} live keys that the policy would not let be made today.")
    terminal.notes.line("The policy would let all live keys be made today.")
