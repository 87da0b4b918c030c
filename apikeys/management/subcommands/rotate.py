from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...lifecycle import LifecycleError
from ...models import ProjectKey
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
    arguments.add_public_key(
        parser,
        "A file with the public key that is to replace that of a key which signs, or the secret "
        "of a project key.",
    )


def handle(
    terminal: Terminal,
    *,
    public_id: str,
    overlap: str | None,
    expires: str | None,
    public_key: str | None,
    **options: Any,
) -> None:
    key = arguments.find_key(public_id)
    if public_key is not None and not isinstance(key, ProjectKey):
        message = "A personal access token has a secret: --public-key is for project keys."
        raise LifecycleError("contradictory_arguments", message, "public_key")
    terminal.preview("To be rotated", key)
    minted: lifecycle.Minted[Any] = lifecycle.rotate(
        key,
        overlap=arguments.overlap(overlap) if overlap is not None else None,
        expires_at=arguments.expiry(expires) if expires is not None else lifecycle.KEEP,
        public_key=arguments.public_key(public_key),
    )
    ends = record(key)["expires_at"]
    until = show("expires_at", ends)
    lost = (
        f"The key {minted.key.public_id} was made but could not be shown. {public_id}, which it "
        f"replaces, ends at {until}."
    )
    terminal.reveal(minted, if_lost=lambda: lost, replaces_expires_at=ends)
    if not terminal.as_json:
        terminal.screen.line(f"\nIt replaces {public_id}, which ends at {until}.")
