from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...keys.facts import record
from .. import arguments
from ..output import show
from ..terminal import Terminal

HELP = "Make a project key trust a workload instead of having a secret."
MORE = (
    "The key keeps its ID, scopes and history. Its secret works until the overlap ends, and then "
    "stops."
)


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser)
    arguments.add_trust(
        parser,
        "The issuer of the workload that may use the key, from the setting WORKLOAD_ISSUERS, such "
        "as github.",
        required=True,
    )
    parser.add_argument(
        "--overlap",
        metavar="DURATION",
        help="How long the secret keeps working, from 0 to 7d (default: the setting "
        "ROTATION_OVERLAP).",
    )
    arguments.add_by(parser)


def handle(
    terminal: Terminal,
    *,
    public_id: str,
    issuer: str,
    claim: list[str] | None,
    audience: str | None,
    overlap: str | None,
    by: str | None,
    **options: Any,
) -> None:
    key = arguments.find_key(public_id)
    trust = arguments.trust(issuer, claim, audience, model=key)
    terminal.preview("Key to convert", key)
    lifecycle.convert(
        key,
        trust=trust or {},
        overlap=arguments.overlap(overlap) if overlap is not None else None,
        by=arguments.find_user(by) if by else None,
    )
    facts = record(arguments.find_key(public_id))
    if terminal.as_json:
        return terminal.json(facts)
    ends = facts["secret_ends_at"]
    if ends is None:
        terminal.screen.line("Its secret has stopped working.")
    else:
        terminal.screen.line(f"Its secret works until {show('secret_ends_at', ends)}.")
    return terminal.show_setup(key)
