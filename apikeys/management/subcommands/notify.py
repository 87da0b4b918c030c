from typing import Any

from django.core.management.base import CommandError, CommandParser

from ...conf.endings import end_settings
from ...mail import deadlines
from ..output import counted
from ..terminal import Terminal

HELP = "Mail the owners of keys that expire soon, and pause or revoke unused keys."
MORE = (
    "Each owner gets a mail 7 days before a key expires and another 1 day before, and owners of "
    "imported keys 14 days before the old header stops working. Run it daily; however often it "
    "runs, it sends each mail once. It also records expired keys in the audit log. If the policy "
    "limits the time without use (longest_idle), each owner of an unused key gets a mail 14 days "
    "and 3 days before it is paused or revoked."
)


_ENDED = {"pause": "Paused", "revoke": "Revoked"}


def add_arguments(parser: CommandParser) -> None:
    pass


def handle(terminal: Terminal, **options: Any) -> None:
    done = deadlines.notify()
    terminal.show(
        done,
        f"Sent {counted(done['notified'], 'expiry notice')}. "
        f"Recorded {counted(done['expired'], 'expired key')}."
        + (
            f" {_ENDED[end_settings.WHEN_IDLE]} {counted(done['idle'], 'unused key')}."
            if done["idle"]
            else ""
        ),
    )
    if done["failed"]:
        raise CommandError(f"{counted(done['failed'], 'mail')} could not be sent. See the log.")
