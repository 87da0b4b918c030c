import heapq
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from operator import attrgetter
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Q
from django.utils import timezone

from ...acceptance import used_kinds
from ...keys.facts import COLUMNS_OF_COMMAND, KINDS, record, with_facts
from ...models import AnyKey, PersonalAccessToken, State, live
from .. import arguments
from ..output import show
from ..terminal import Terminal

HELP = "List keys, newest first."

_CHUNK = 500  # rows in memory at a time

_EXPENDABLE = ("PROJECTS", "LAST USED", "SCOPES")


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--user", metavar="USERNAME", help="Only list tokens of this user.")
    parser.add_argument(
        "--project",
        metavar="SLUG",
        help="Only list keys of this project, and tokens that are restricted to it.",
    )
    parser.add_argument("--kind", choices=[*KINDS], help="Only list keys of this kind.")
    parser.add_argument("--all", action="store_true", help="Also list revoked and expired keys.")
    parser.add_argument(
        "--unused",
        metavar="DURATION",
        help="Only list keys whose last use, or creation if they were never used, is longer ago.",
    )
    arguments.add_limit(parser, "keys")


def handle(
    terminal: Terminal,
    *,
    user: str | None,
    project: str | None,
    kind: str | None,
    limit: int,
    unused: str | None,
    **options: Any,
) -> None:
    arguments.check_limit(limit)
    kinds = [kind] if kind else [each for each in KINDS if each in used_kinds()]
    owner = arguments.find_user(user) if user else None
    inside = arguments.find_project(project) if project else None
    since = timezone.now() - arguments.duration(unused, "unused") if unused is not None else None
    found = heapq.merge(
        *(_keys(each, owner, inside, options["all"], since, limit + 1) for each in kinds),
        key=attrgetter("created_at"),
        reverse=True,
    )
    terminal.show_list(
        map(record, islice(found, limit)),
        [name.removesuffix("_at").replace("_", " ").upper() for name in COLUMNS_OF_COMMAND],
        _row,
        none="No keys." if options["all"] else "No active keys. Use --all to list all keys.",
        expendable=_EXPENDABLE,
    )
    if next(found, None) is not None:
        terminal.notes.line(f"There are more than {limit}. Use --limit to list more.")


def _keys(
    kind: str,
    owner: Any,
    project: Any,
    everything: bool,
    unused_since: datetime | None,
    limit: int,
) -> Iterator[AnyKey]:
    """Return the keys of one kind, newest first."""
    model = KINDS[kind]
    is_pat = model is PersonalAccessToken
    keys = with_facts(model)
    if owner is not None:
        keys = keys.filter(user=owner) if is_pat else keys.none()
    if project is not None:
        keys = keys.filter(projects=project) if is_pat else keys.filter(project=project)
    if not everything:
        keys = keys.filter(live())
    if unused_since is not None:
        never = Q(last_used_at=None, created_at__lt=unused_since)
        keys = keys.filter(Q(last_used_at__lt=unused_since) | never)
    return iter(keys[:limit].iterator(chunk_size=_CHUNK))


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
