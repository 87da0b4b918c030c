from typing import Any

from django.core.management.base import CommandParser

from ...keys import inventory
from ...keys.facts import KINDS
from ..output import show
from ..terminal import Terminal

HELP = "Count all keys by kind and state, and show the keys to look at."
MORE = (
    "It shows keys that expire soon, were never used, or never expire, the keys with the most "
    "scopes, and the credentials that projects deny."
)

_WIDEST = ("id", "kind", "name", "owner", "scopes", "all_projects", "last_used_at")
_DENIED = ("project", "kind", "id", "reason", "by", "at")


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--csv",
        action="store_true",
        help="Print CSV for a spreadsheet: one row for each number, key and denial.",
    )


def handle(terminal: Terminal, *, csv: bool, **options: Any) -> None:
    found = inventory.report()
    if csv:
        for line in inventory.as_csv(found):
            terminal.text(line)
    elif terminal.as_json:
        terminal.json(found)
    else:
        _show(terminal, found)


def _show(terminal: Terminal, found: dict[str, Any]) -> None:
    screen, kinds = terminal.screen, [kind for kind in KINDS if kind in found["keys"]]
    names: list[str] = list(next(iter(found["keys"].values())))
    rows = [
        [str(inventory.LABELS[name]), *(str(found["keys"][kind][name]) for kind in kinds)]
        for name in names
    ]
    screen.table(["KEYS", *(kind.replace("_", " ").upper() for kind in kinds)], rows)
    for part, numbers in found["others"].items():
        screen.line()
        labelled = [[str(inventory.LABELS[name]), str(each)] for name, each in numbers.items()]
        screen.table([part.upper(), ""], labelled)
    if found["widest"]:
        screen.line("\nThe active keys with the most scopes:")
        _table(terminal, found["widest"], _WIDEST)
    screen.line(f"\nDenials in projects: {found['denials']['total']}")
    if found["denials"]["newest"]:
        _table(terminal, found["denials"]["newest"], _DENIED)


def _table(terminal: Terminal, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    headers = [name.removesuffix("_at").replace("_", " ").upper() for name in columns]
    cells = [[show(name, row[name]) for name in columns] for row in rows]
    terminal.screen.table(headers, cells, ("NAME", "REASON"))
