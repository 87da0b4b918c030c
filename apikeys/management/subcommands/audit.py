from typing import Any

from django.core.management.base import CommandParser

from ... import audit
from ...audit import FORMATS
from ...models import AuditEvent
from .. import arguments
from ..output import show
from ..terminal import Terminal

HELP = "Tell what happened to keys, oldest first."
MORE = "All of it as CSV or JSON lines with --format, else the newest events as a table."

_CHUNK = 500  # rows in memory at a time
_FIELDS = ("at", "event", "key", "name", "owner", "by", "using", "ip")


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--format", choices=list(FORMATS), help="Print every event, for other programs."
    )
    parser.add_argument("--user", metavar="USERNAME", help="Of this user's tokens only.")
    parser.add_argument("--project", metavar="SLUG", help="Of this project's keys only.")
    parser.add_argument("--key", metavar="ID", help="Of this key only, even a deleted one.")
    parser.add_argument("--event", choices=AuditEvent.Event.values, help="Of this kind only.")
    parser.add_argument("--since", metavar="WHEN", help="From this date, or date and time, on.")
    parser.add_argument("--until", metavar="WHEN", help="Before this date, or date and time.")
    arguments.add_limit(parser, "At most so many in the table or --json.")


def handle(terminal: Terminal, *, limit: int, **options: Any) -> None:
    events = _events(**options)
    if options["format"]:
        lines, _media_type = FORMATS[options["format"]]
        for line in lines(events.order_by("pk").iterator(chunk_size=_CHUNK)):
            terminal.text(line)
        return
    arguments.check_limit(limit)
    newest = [audit.record(event) for event in events.order_by("-pk")[:limit]]
    terminal.tell_all(
        newest[::-1],
        [name.upper() for name in _FIELDS],
        lambda facts: [show(name, facts[name]) for name in _FIELDS],
        none="Nothing happened.",
        expendable=("NAME", "USING"),
    )


def _events(
    *,
    user: str | None,
    project: str | None,
    key: str | None,
    event: str | None,
    since: str | None,
    until: str | None,
    **options: Any,
) -> Any:
    events = AuditEvent.objects.all()
    if user:
        events = events.of(arguments.find_user(user))
    if project:
        events = events.of(arguments.find_project(project))
    if key:
        events = events.filter(public_id=arguments.clean_id(key))
    if event:
        events = events.filter(event=event)
    if since:
        events = events.filter(at__gte=arguments.moment(since, "since"))
    if until:
        events = events.filter(at__lt=arguments.moment(until, "until"))
    return events
