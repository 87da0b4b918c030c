from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Q

from ... import audit
from ...audit import FORMATS
from ...databases.lists import for_list
from ...keys.event_queries import Asked
from ...models import AuditEvent
from .. import arguments
from ..output import show
from ..terminal import Terminal

HELP = "Show the audit log: what happened to keys, oldest first."
MORE = "Without --format, it shows the newest events only, as many as --limit says."

_CHUNK = 500  # rows in memory at a time


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--format",
        choices=list(FORMATS),
        help="Export every event as CSV or as lines of JSON. --limit and --json do not apply.",
    )
    parser.add_argument(
        "--user", metavar="USERNAME", help="Only show events of this user's tokens."
    )
    parser.add_argument(
        "--project", metavar="SLUG", help="Only show events of this project's keys."
    )
    parser.add_argument(
        "--key", metavar="ID", help="Only show events of this key, even if it was deleted."
    )
    parser.add_argument(
        "--using",
        metavar="ID",
        help="Only show what was done with this credential. It reads the whole log, or the part "
        "that --since and --until leave.",
    )
    parser.add_argument(
        "--event", choices=AuditEvent.Event.values, help="Only show events of this kind."
    )
    parser.add_argument(
        "--since",
        metavar="WHEN",
        help="Only show events since then. 30d means: of the last 30 days.",
    )
    parser.add_argument(
        "--until",
        metavar="WHEN",
        help="Only show events before then; a date includes that day. 30d means: more than 30 "
        "days ago.",
    )
    arguments.add_limit(parser, "events")


def handle(terminal: Terminal, *, limit: int, **options: Any) -> None:
    events, asked = _asked(**options)
    if options["format"]:
        lines, _media_type = FORMATS[options["format"]]
        for line in lines(asked.all(events).order_by("pk").iterator(chunk_size=_CHUNK)):
            terminal.text(line)
        return
    arguments.check_limit(limit)
    newest = [audit.record(event) for event in asked.newest(events, limit)]
    terminal.show_list(
        newest[::-1],
        [name.upper() for name in audit.COLUMNS],
        lambda facts: [show(name, facts[name]) for name in audit.COLUMNS],
        none="No events.",
        expendable=("NAME", "USING"),
    )


def _asked(
    *,
    user: str | None,
    project: str | None,
    key: str | None,
    using: str | None,
    event: str | None,
    since: str | None,
    until: str | None,
    **options: Any,
) -> tuple[Any, Asked]:
    events, times, others = for_list(AuditEvent.objects.all()), Q(), Q()
    if user is not None:
        events = events.of(arguments.find_user(user))
    if project is not None:
        events = events.of(arguments.find_project(project))
    if since is not None:
        times &= Q(at__gte=arguments.moment(since, "since"))
    if until is not None:
        times &= Q(at__lt=arguments.moment(until, "until"))
    if using is not None:
        others &= Q(using=arguments.clean_id(using))
    public_id = "" if key is None else arguments.clean_id(key)
    return events, Asked(public_id, event or "", times, others)
