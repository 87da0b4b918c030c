from typing import Any

from django.core.management.base import CommandError, CommandParser

from ... import notices
from ..terminal import Terminal

HELP = "Mail the owners of keys that end within 7 days, and again within one."
MORE = (
    "So are those who use imported keys, 14 days before the header of these is no longer taken. "
    "Run it daily. Each is told once, however often and wherever it runs. The audit log is told "
    "of the keys that have expired."
)


def add_arguments(parser: CommandParser) -> None:
    pass


def handle(terminal: Terminal, **options: Any) -> None:
    done = notices.notify()
    terminal.tell(
        done,
        f"Told the owners of {done['notified']} keys that they end soon; "
        f"{done['expired']} have expired.",
    )
    if done["failed"]:
        raise CommandError(f"{done['failed']} mails could not be sent; the log says why.")
