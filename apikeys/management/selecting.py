"""Which keys a subcommand is about: the options of ``list``, ``revoke`` and ``pause``."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.core.management.base import CommandParser
from django.db.models import Q, QuerySet

from ..acceptance import used_kinds
from ..errors import LifecycleError
from ..keys import queries
from ..keys.facts import KINDS, record, with_facts
from ..models import AnyKey, PersonalAccessToken, live
from . import arguments
from .output import counted, show
from .terminal import Terminal

NAMES = ("user", "project", "kind", "unused_for")


def add_arguments(parser: CommandParser, verb: str) -> None:
    parser.add_argument("--user", metavar="USERNAME", help=f"Only {verb} tokens of this user.")
    parser.add_argument(
        "--project",
        metavar="SLUG",
        help=f"Only {verb} keys of this project, and tokens that are restricted to it.",
    )
    parser.add_argument("--kind", choices=[*KINDS], help=f"Only {verb} keys of this kind.")
    parser.add_argument(
        "--unused-for",
        metavar="DURATION",
        help=f"Only {verb} keys that were not used for this long. If a key was never used, its age "
        "counts. Introspection by another service is not a use.",
    )


def add_dry_run(parser: CommandParser, done: str) -> None:
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help=f"Only list the keys that would be {done}. Needs no reason.",
    )


def check_one_or_unused(
    public_id: str | None, unused_for: str | None, options: Mapping[str, Any], verb: str
) -> None:
    """Raise ``LifecycleError`` unless either an ID or ``--unused-for`` is given."""
    if public_id is None and unused_for is None:
        message = f"Name the ID of a key, or pass --unused-for to {verb} all keys that are unused."
        raise LifecycleError("missing_argument", message, "public_id")
    others = [name for name in NAMES if options.get(name)]
    if public_id is not None and (unused_for is not None or options["dry_run"] or others):
        message = "Pass an ID, or --unused-for with its options, but not both."
        raise LifecycleError("contradictory_arguments", message, "public_id")


def show_changed(terminal: Terminal, keys: Iterable[AnyKey], verb: str) -> None:
    """Print the keys that were changed, one line each, and their number."""
    if terminal.as_json:
        terminal.json_list(map(record, keys))
        return
    number = 0
    for key in keys:
        number += 1
        last_used = show("last_used_at", record(key)["last_used_at"])
        terminal.screen.line(f"{verb} {key}, last used: {last_used}.")
    terminal.screen.line(f"{verb} {counted(number, 'key')}.")


class Selection(NamedTuple):
    """The values of the options, looked up."""

    kinds: list[str]
    user: Any
    project: Any
    unused_since: datetime | None

    def of_each_kind(self, *, with_ended: bool = False) -> Iterator[QuerySet[Any]]:
        """Return the keys of each kind, newest first. Ended ones only with ``with_ended``."""
        for kind in self.kinds:
            model: Any = KINDS[kind]
            is_pat = model is PersonalAccessToken
            found: QuerySet[Any] = with_facts(model)
            if self.user is not None:
                found = found.filter(user=self.user) if is_pat else found.none()
            if self.project is not None:
                named = {"projects" if is_pat else "project": self.project}
                found = found.filter(**named)
            if not with_ended:
                found = found.filter(live())
            if (since := self.unused_since) is not None:
                never = Q(last_used_at=None, created_at__lt=since)
                found = found.filter(Q(last_used_at__lt=since) | never)
            yield found


def select(
    *, user: str | None, project: str | None, kind: str | None, unused_for: str | None
) -> Selection:
    """Look up the values of the options. Raises ``LifecycleError`` for a wrong one."""
    unused_since = None if unused_for is None else arguments.ago(unused_for, "unused-for")
    return Selection(
        [kind] if kind else [each for each in KINDS if each in used_kinds()],
        arguments.find_user(user) if user else None,
        arguments.find_project(project) if project else None,
        unused_since,
    )


def check_recorded(since: datetime | None) -> None:
    """Raise ``LifecycleError`` if all keys look unused because nothing writes their last use.

    Call it before you end keys that were not used since ``since``.
    """
    if since is None or queries.are_uses_recorded(since):
        return
    message = (
        "No use was recorded in this time, because LAST_USED_INTERVAL is None and nothing calls "
        "apikeys.usage.flush(). So every key would count as unused."
    )
    raise LifecycleError("uses_not_recorded", message, "unused_for")
