import heapq
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from typing import Any

from django.core.management.base import CommandParser

from ...models import PersonalAccessToken, State, live
from ...records import KINDS, AnyKey, record, with_facts
from .. import arguments
from ..output import show
from ..terminal import Terminal

HELP = "List keys, newest first."

_CHUNK = 500  # rows in memory at a time

_COLUMNS = (
    "ID", "KIND", "NAME", "OWNER", "PROJECTS", "SCOPES", "EXPIRES", "LAST USED", "STATE",
)  # fmt: skip
_EXPENDABLE = ("PROJECTS", "LAST USED", "SCOPES")


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--user", metavar="USERNAME", help="Only this user's.")
    parser.add_argument(
        "--project",
        metavar="SLUG",
        help="Only this project's keys, and personal access tokens restricted to it.",
    )
    parser.add_argument("--kind", choices=[*KINDS], help="Only keys of this kind.")
    parser.add_argument("--all", action="store_true", help="Also revoked and expired ones.")
    arguments.add_limit(parser, "At most so many (default: %(default)s).")


def handle(
    terminal: Terminal,
    *,
    user: str | None,
    project: str | None,
    kind: str | None,
    limit: int,
    **options: Any,
) -> None:
    arguments.check_limit(limit)
    kinds = [kind] if kind else [*KINDS]
    owner = arguments.find_user(user) if user else None
    inside = arguments.find_project(project) if project else None
    found = heapq.merge(
        *(_keys(each, owner, inside, options["all"], limit + 1) for each in kinds),
        key=attrgetter("created_at"),
        reverse=True,
    )
    terminal.tell_all(
        map(record, islice(found, limit)),
        _COLUMNS,
        _row,
        none="No keys." if options["all"] else "No live keys; --all lists the others too.",
        expendable=_EXPENDABLE,
    )
    if next(found, None) is not None:
        terminal.notes.line(f"There are more than these {limit}; --limit sets how many to list.")


def _keys(kind: str, owner: Any, project: Any, everything: bool, limit: int) -> Iterator[AnyKey]:
    """Newest first."""
    model = KINDS[kind]
    is_pat = model is PersonalAccessToken
    keys = with_facts(model)
    if owner is not None:
        keys = keys.filter(user=owner) if is_pat else keys.none()
    if project is not None:
        keys = keys.filter(projects=project) if is_pat else keys.filter(project=project)
    if not everything:
        keys = keys.filter(live())
    return iter(keys[:limit].iterator(chunk_size=_CHUNK))


def _row(facts: dict[str, Any]) -> list[str]:
    legacy = facts["legacy"]
    rotated = facts["state"] == State.LIVE and facts["rotated_at"]
    return [
        facts["id"],
        KINDS[facts["kind"]].KIND,
        facts["name"],
        facts["user"] or facts["project"],
        *(show(name, facts[name]) for name in ("projects", "scopes", "expires_at", "last_used_at")),
        facts["state"] + (" (rotated)" if rotated else "") + (" (legacy)" if legacy else ""),
    ]
