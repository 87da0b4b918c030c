from typing import Any

from django.core.management.base import CommandError, CommandParser

from ...health import report
from ..terminal import Terminal

HELP = "Check the database, its migrations, the peppers and Redis."
MORE = (
    "Exits with 0 if keys work, also with a warning, and with 1 if requests with keys fail. "
    "Writes a row to the database and rolls that back."
)


def add_arguments(parser: CommandParser) -> None:
    pass


def handle(terminal: Terminal, **options: Any) -> None:
    found = report()
    if terminal.as_json:
        terminal.json(found)
    else:
        rows = [(each["name"], each["status"], each["detail"]) for each in found["checks"]]
        terminal.screen.table(("CHECK", "STATUS", "DETAIL"), rows)
    failed = [each["name"] for each in found["checks"] if each["status"] == "failed"]
    if failed:
        raise CommandError(f"Failed: {', '.join(failed)}.")
