from typing import Any

from django.core.management.base import CommandParser

from ... import reach
from ...errors import LifecycleError
from ...reach import Entry, sources
from ...reach.entries import record
from .. import arguments
from ..terminal import Terminal

HELP = "Deny a credential in a project, or reject a token that is pending approval there."


def add_common(parser: CommandParser, *, required: bool = True) -> None:
    parser.add_argument(
        "public_id",
        metavar="ID",
        nargs=None if required else "?",
        help="The ID of the credential, which `access` shows.",
    )
    parser.add_argument("--project", metavar="SLUG", required=required, help="The project.")
    arguments.add_by(parser)


def add_arguments(parser: CommandParser, *, required: bool = True) -> None:
    add_common(parser, required=required)
    if required:
        arguments.add_reason(parser)
        return
    text = (
        f"Why, for the owner and the log: up to {arguments.MAX_REASON} characters. For --project."
    )
    parser.add_argument("--reason", help=text)


def handle(
    terminal: Terminal,
    *,
    public_id: str,
    project: str,
    reason: str | None,
    by: str | None,
    **options: Any,
) -> None:
    terminal.require({"--reason": reason})
    found_project = arguments.find_project(project)
    entry, user = find(found_project, public_id), arguments.find_user(by) if by else None
    reason = reason or terminal.ask_reason()
    denied = reach.deny(found_project, entry, reason=reason, by=user)
    words = ("Rejected" if entry.awaits else "Denied") if denied else "Denied before:"
    show(terminal, found_project, entry, f"{words} {entry.name} ({entry.id}) in {project}.")


def find(project: Any, public_id: str) -> Entry:
    """Return the credential. Raise ``LifecycleError`` (``unknown_credential``)."""
    if (entry := reach.find(project, arguments.clean_id(public_id))) is None:
        message = f"No credential with the ID {public_id} reaches this project."
        raise LifecycleError("unknown_credential", message, "id")
    return entry


def show(terminal: Terminal, project: Any, entry: Entry, sentence: str) -> None:
    now = reach.find(project, entry.id) or entry
    sources.fill(project, [now])
    terminal.show(dict(record(now)), sentence)
