from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from ... import usage
from ...errors import LifecycleError
from ...limits import attempts
from ...signatures import nonces
from .. import arguments
from ..output import counted
from ..terminal import Terminal

HELP = "Delete old usage counts, nonces and attempt counts."
MORE = "Run it nightly or weekly to keep those tables small."

_SHORTEST = timedelta(days=31)  # a whole month, which becomes one row
_LONGEST = timedelta(days=365) * 1000  # the calendar begins 2000 years ago


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--daily",
        metavar="DURATION",
        default="90d",
        help="How long to keep a usage count for each day, at least "
        f"{_SHORTEST.days}d. Older counts are added up by month (default: %(default)s).",
    )
    parser.add_argument(
        "--keep",
        metavar="DURATION",
        default="2y",
        help="How long to keep usage counts at all, at least as long as --daily and at most "
        f"{_LONGEST.days // 365}y (default: %(default)s).",
    )


def handle(terminal: Terminal, *, daily: str, keep: str, **options: Any) -> None:
    daily_for = arguments.duration(daily, "daily")
    kept_for = arguments.duration(keep, "keep")
    if not _SHORTEST <= daily_for <= kept_for <= _LONGEST:
        message = (
            f"--daily takes {_SHORTEST.days}d or more. --keep takes at least as much as --daily, "
            f"up to {_LONGEST.days // 365}y."
        )
        raise LifecycleError("invalid_duration", message, "daily")
    deleted = usage.prune(daily_for, kept_for) + nonces.prune() + attempts.prune()
    terminal.show({"deleted": deleted}, f"Deleted {counted(deleted, 'row')}.")
