import heapq
from itertools import islice
from operator import attrgetter
from typing import Any

from django.core.management.base import CommandParser

from ...databases.lists import for_list
from ...keys.facts import COLUMNS_OF_COMMAND, KINDS, record
from ...models import State
from .. import arguments, selecting
from ..output import show
from ..terminal import Terminal

HELP = "List keys, newest first."

_CHUNK = 500  # rows in memory at a time

_EXPENDABLE = ("PROJECTS", "LAST USED", "SCOPES")


def add_arguments(parser: CommandParser) -> None:
    selecting.add_arguments(parser, "list")
    parser.add_argument("--all", action="store_true", help="Also list revoked and expired keys.")
    arguments.add_limit(parser, "keys")


def handle(terminal: Terminal, *, limit: int, **options: Any) -> None:
    arguments.check_limit(limit)
    selection = selecting.select(**{name: options[name] for name in selecting.NAMES})
    found = heapq.merge(
        *(
            iter(for_list(keys)[: limit + 1].iterator(chunk_size=_CHUNK))
            for keys in selection.of_each_kind(with_ended=options["all"])
        ),
        key=attrgetter("created_at"),
        reverse=True,
    )
    terminal.show_list(
        map(record, islice(found, limit)),
        [name.removesuffix("_at").replace("_", " ").upper() for name in COLUMNS_OF_COMMAND],
        _row,
        none="No keys." if options["all"] else "No keys. Use --all to include ended keys.",
        expendable=_EXPENDABLE,
    )
    if next(found, None) is not None:
        terminal.notes.line(f"There are more than {limit}. Use --limit to list more.")


def _row(facts: dict[str, Any]) -> list[str]:
    legacy = facts["legacy"]
    rotated = facts["state"] == State.LIVE and facts["rotated_at"]
    facts = facts | {
        "kind": KINDS[facts["kind"]].KIND,
        "owner": facts["user"] or facts["project"],
        "state": show("state", facts["state"])
        + (" (rotated)" if rotated else "")
        + (" (legacy)" if legacy else ""),
    }
    return [
        facts[name] if name == "state" else show(name, facts[name]) for name in COLUMNS_OF_COMMAND
    ]
