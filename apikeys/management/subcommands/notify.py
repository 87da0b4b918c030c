from typing import Any

from django.core.management.base import CommandError, CommandParser

from ... import mail
from ..output import counted
from ..terminal import Terminal

HELP = "Mail the owners of keys that expire soon."
MORE = (
    "Each owner gets a mail 7 days before a key expires and another 1 day before, and owners of "
    "imported keys 14 days before the old header stops working. Run it daily; however often it "
    "runs, it sends each mail once. It also records expired keys in the audit log."
)


def add_arguments(parser: CommandParser) -> None:
    pass


def handle(terminal: Terminal, **options: Any) -> None:
    done = mail.notify()
    terminal.show(
        done,
        f"Sent {counted(done['notified'], 'expiry notice')}. "
        f"Recorded {counted(done['expired'], 'expired key')}.",
    )
    if done["failed"]:
        raise CommandError(f"{counted(done['failed'], 'mail')} could not be sent. See the log.")
