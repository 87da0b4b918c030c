from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from ... import usage
from ...lifecycle import LifecycleError
from ...signatures import nonces
from .. import arguments
from ..terminal import Terminal

HELP = "Roll up and delete old counts of use, and the nonces of old signatures."
MORE = "Run it every night or every week: it keeps those tables small."

_LONGEST = timedelta(days=365) * 1000  # the calendar begins 2000 years ago


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--daily",
        metavar="DURATION",
        default="90d",
        help="For how long there is a count a day; then there is one a month "
        "(default: %(default)s).",
    )
    parser.add_argument(
        "--keep",
        metavar="DURATION",
        default="2y",
        help="When even those are deleted (default: %(default)s).",
    )


def handle(terminal: Terminal, *, daily: str, keep: str, **options: Any) -> None:
    daily_for = arguments.duration(daily, "daily")
    kept_for = arguments.duration(keep, "keep")
    if not timedelta(days=31) <= daily_for <= kept_for <= _LONGEST:
        message = "--daily takes 31d or more, and --keep no less than that, up to 1000y."
        raise LifecycleError("invalid_duration", message, "daily")
    deleted = usage.prune(daily_for, kept_for) + nonces.prune()
    terminal.tell({"deleted": deleted}, f"{deleted} rows fewer.")
