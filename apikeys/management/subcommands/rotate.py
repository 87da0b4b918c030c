from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...errors import LifecycleError
from ...keys.facts import record
from .. import arguments
from ..output import show
from ..terminal import Terminal

HELP = "Create a successor of a key, with a new secret."
MORE = "It shows the new key once. The old key works until the overlap ends, and then expires."


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser)
    parser.add_argument(
        "--overlap",
        metavar="DURATION",
        help="How long the old key stays valid, from 0 to 7d (default: the setting "
        "ROTATION_OVERLAP).",
    )
    parser.add_argument(
        "--expires",
        metavar="WHEN",
        help="When the new key expires, as for mint (default: as the old key would have).",
    )
    arguments.add_public_key(
        parser,
        "A file with the new public key of a project key that signs its requests. A key that has "
        "a secret starts to sign instead.",
    )
    arguments.add_trust(
        parser,
        "The issuer of the workload that may use the new key, which has no secret. Needed if "
        "the old key trusts a workload.",
    )


def handle(
    terminal: Terminal,
    *,
    public_id: str,
    overlap: str | None,
    expires: str | None,
    public_key: str | None,
    issuer: str | None,
    claim: list[str] | None,
    audience: str | None,
    **options: Any,
) -> None:
    key = arguments.find_key(public_id)
    if public_key is not None and not key.TAKES_PUBLIC_KEY:
        message = "--public-key is for project keys. A personal access token has a secret."
        raise LifecycleError("contradictory_arguments", message, "public_key")
    trust = arguments.trust(issuer, claim, audience, model=key)
    terminal.preview("Key to rotate", key)
    minted: lifecycle.Minted[Any] = lifecycle.rotate(
        key,
        overlap=arguments.overlap(overlap) if overlap is not None else None,
        expires_at=arguments.expiry(expires) if expires is not None else lifecycle.KEEP,
        public_key=arguments.public_key(public_key),
        trust=trust,
    )
    ends = record(key)["expires_at"]
    until = show("expires_at", ends)
    lost = (
        f"The key {minted.key.public_id} was created, but it could not be printed. "
        f"{public_id}, which it replaces, expires at {until}."
    )
    terminal.reveal(minted, if_lost=lambda: lost, replaces_expires_at=ends)
    if not terminal.as_json:
        terminal.screen.line(f"\nThis key replaces {public_id}, which expires at {until}.")
