from typing import Any

from django.core.management.base import CommandParser

from ... import reach
from ...reach import exports, sources
from ...reach.entries import KINDS, record
from ...reach.listing import ANSWERS
from .. import arguments
from ..output import show
from ..terminal import Terminal

HELP = "List the credentials that reach a project: its keys, members' tokens and applications."

_COLUMNS = ("id", "kind", "name", "user", "scopes", "last_used_at", "expires_at", "state", "denied")


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--project", metavar="SLUG", required=True, help="The project.")
    parser.add_argument("--kind", choices=list(KINDS), help="Only list credentials of this kind.")
    parser.add_argument(
        "--denied",
        choices=list(ANSWERS),
        help="Only list what is denied, what is not, tokens pending approval, or what was allowed.",
    )
    parser.add_argument("--csv", action="store_true", help="Print all facts as CSV.")


def handle(
    terminal: Terminal,
    *,
    project: str,
    kind: str | None,
    denied: str | None,
    csv: bool,
    **options: Any,
) -> None:
    found_project = arguments.find_project(project)
    found = reach.listed(found_project, kind=kind or "", denied=denied or "")
    sources.fill(found_project, found)
    if csv and not terminal.as_json:
        terminal.text(exports.as_csv(found))
        return
    terminal.show_list(
        [dict(record(each)) for each in found],
        [name.removesuffix("_at").replace("_", " ").upper() for name in _COLUMNS],
        _row,
        none="Nothing matches." if kind or denied else "No credential reaches this project.",
        expendable=("SCOPES", "LAST USED", "EXPIRES"),
    )


def _row(facts: dict[str, Any]) -> list[str]:
    cells = [show(name, facts[name]) for name in _COLUMNS]
    if facts["awaits_approval"]:
        cells[-1] = "pending approval"
    return cells
