from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from ... import retention, usage
from ...conf import app_settings
from ...errors import LifecycleError
from ...limits import attempts
from ...signatures import nonces
from .. import arguments, pruning
from ..output import counted
from ..terminal import Terminal

HELP = "Delete old usage counts, nonces, attempt counts and logouts, and OAuth clients without use."
MORE = (
    "Run it nightly or weekly to keep those tables small. With --audit and --ended, or the "
    "settings KEEP_AUDIT and KEEP_ENDED, it also deletes old audit events, and keys that ended."
)

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
    parser.add_argument(
        "--audit",
        metavar="DURATION",
        help="Delete audit events that are older, such as 730d. The audit log keeps an entry that "
        "says who deleted how many (default: the setting KEEP_AUDIT, or never).",
    )
    parser.add_argument(
        "--ended",
        metavar="DURATION",
        help="Delete keys that were revoked or have expired longer ago, such as 365d. Their audit "
        "events remain (default: the setting KEEP_ENDED, or never).",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help=f"Accept less than the setting, or than {retention.SHORTEST.days}d, for --audit and "
        f"--ended: at least {retention.LEAST.days}d.",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="Delete nothing. Only count the audit events and the keys that would be deleted.",
    )
    arguments.add_by(parser)


def handle(
    terminal: Terminal,
    *,
    daily: str,
    keep: str,
    unused: str,
    by: str | None,
    dry_run: bool,
    **options: Any,
) -> None:
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
    now = timezone.now()
    untils = {
        name: None if (span := _kept(name, setting, options)) is None else now - span
        for name, setting in (
            ("audit", app_settings.KEEP_AUDIT),
            ("ended", app_settings.KEEP_ENDED),
        )
    }
    user = arguments.find_user(by) if by else None
    deleted = 0
    if not dry_run:
        deleted = usage.prune(daily_for, kept_for) + nonces.prune() + attempts.prune()
        deleted += pruning.prune(unused_for)
    keys = events = 0
    if (until := untils["ended"]) is not None:
        keys = retention.ended_keys(until) if dry_run else retention.prune_keys(until, by=user)
    if (until := untils["audit"]) is not None:
        events = retention.old_events(until) if dry_run else retention.prune_events(until, by=user)
    numbers = {"deleted": deleted, "keys": keys, "audit_events": events}
    parts = [] if dry_run else [counted(deleted, "row")]
    parts += [counted(keys, "key")] if untils["ended"] is not None else []
    parts += [counted(events, "audit event")] if untils["audit"] is not None else []
    verb = "Would delete" if dry_run else "Deleted"
    listed = " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]])) or "nothing"
    terminal.show(numbers, f"{verb} {listed}.")


def _kept(name: str, setting: timedelta | None, options: Mapping[str, Any]) -> timedelta | None:
    """Return how long the command keeps audit events or keys; ``None`` for ever."""
    if (text := options[name]) is None:
        return setting
    span = arguments.duration(text, name)
    usual = max(retention.SHORTEST, setting or retention.SHORTEST)
    least = retention.LEAST if options["force"] else usual
    if least <= span <= _LONGEST:
        return span
    message = f"--{name} takes {least.days}d or more, up to {_LONGEST.days // 365}y."
    if retention.LEAST <= span < least:
        message += " Pass --force to delete more."
    raise LifecycleError("invalid_duration", message, name)
