from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from ... import usage
from ...errors import LifecycleError
from ...limits import attempts
from ...signatures import nonces
from .. import arguments, pruning
from ..output import counted
from ..terminal import Terminal

HELP = "Delete old usage counts, nonces, attempt counts and logouts, and OAuth clients without use."
MORE = "Run it nightly or weekly to keep those tables small."

_SHORTEST = timedelta(days=31)  # a whole month, which becomes one row
_LEAST_UNUSED = timedelta(days=1)
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
    parser.add_argument(
        "--unused",
        metavar="DURATION",
        default="30d",
        help="Delete OAuth clients that registered themselves at least this long ago and that no "
        f"user authorizes, at least {_LEAST_UNUSED.days}d (default: %(default)s).",
    )


def handle(terminal: Terminal, *, daily: str, keep: str, unused: str, **options: Any) -> None:
    daily_for = arguments.duration(daily, "daily")
    kept_for = arguments.duration(keep, "keep")
    if not _SHORTEST <= daily_for <= kept_for <= _LONGEST:
        message = (
            f"--daily takes {_SHORTEST.days}d or more. --keep takes at least as much as --daily, "
            f"up to {_LONGEST.days // 365}y."
        )
        raise LifecycleError("invalid_duration", message, "daily")
    unused_for = arguments.duration(unused, "unused")
    if unused_for < _LEAST_UNUSED:
        message = f"--unused takes {_LEAST_UNUSED.days}d or more."
        raise LifecycleError("invalid_duration", message, "unused")
    deleted = usage.prune(daily_for, kept_for) + nonces.prune() + attempts.prune()
    deleted += pruning.prune(unused_for)
    terminal.show({"deleted": deleted}, f"Deleted {counted(deleted, 'row')}.")
