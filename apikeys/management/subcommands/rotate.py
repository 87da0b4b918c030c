from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...records import record
from .. import arguments
from ..output import show
from ..terminal import Terminal

HELP = "Replace a key by one with a new secret."
MORE = "The new token is shown, once; the old one goes on working for a while."


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser)
    parser.add_argument(
        "--overlap",
        metavar="DURATION",
        help="How long the old key stays valid, from 0 to 7d; by default the setting "
        "ROTATION_OVERLAP.",
    )
    parser.add_argument(
        "--expires",
        metavar="WHEN",
        help="When the new key expires, as for mint; by default when the old one would have.",
    )


def handle(
    terminal: Terminal, *, public_id: str, overlap: str | None, expires: str | None, **options: Any
) -> None:
    key = arguments.find_key(public_id)
    terminal.preview("To be rotated", key)
    minted: lifecycle.Minted[Any] = lifecycle.rotate(
        key,
        overlap=arguments.overlap(overlap) if overlap is not None else None,
        expires_at=arguments.expiry(expires) if expires is not None else lifecycle.KEEP,
    )
    ends = record(key)["expires_at"]
    terminal.reveal(minted, replaces_expires_at=ends)
    if not terminal.as_json:
        until = show("expires_at", ends)
        terminal.screen.line(f"\nIt replaces {public_id}, which ends at {until}.")
