from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...errors import LifecycleError
from ...keys.facts import record
from ...lifecycle.narrowing import LEAST, MOST_DAYS
from ...models import AnyKey
from ...restrictions import RESTRICTIONS
from .. import arguments
from ..output import show
from ..terminal import Terminal

HELP = "Change a key. Changes apply to the next request."
MORE = "Options that you leave out change nothing."


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser)
    parser.add_argument("--name", help=f"The new name, up to {arguments.MAX_NAME} characters.")
    arguments.add_texts(parser, "edit")
    parser.add_argument(
        "--scope",
        metavar="SCOPE",
        action="append",
        help="A scope. Your scopes replace all scopes of the key. Repeat the option for several.",
    )
    parser.add_argument(
        "--project",
        metavar="SLUG",
        action="append",
        help="A project that a personal access token may access. Your projects replace all "
        "projects of the token. Repeat the option for several.",
    )
    parser.add_argument(
        "--all-projects",
        action="store_true",
        help="Let a personal access token access all projects of its user.",
    )
    parser.add_argument("--expires", metavar="WHEN", help="When the key expires, as for mint.")
    arguments.add_restrictions(parser, "edit")
    arguments.add_metadata(
        parser,
        "A JSON object that replaces all metadata, or @ and a file with it, or @- for standard "
        "input. {} removes it.",
    )
    arguments.add_trust(
        parser, "The issuer of a key that trusts a workload. It needs the new claims, too."
    )
    parser.add_argument(
        "--keep-used",
        metavar="DURATION",
        help="Remove the scopes and selected projects that the key did not use in this time, such "
        "as 90d. You can undo this within 7 days, with --undo-narrowing.",
    )
    parser.add_argument(
        "--undo-narrowing",
        action="store_true",
        help="Restore what --keep-used removed within the last 7 days.",
    )
    arguments.add_by(parser)


def handle(
    terminal: Terminal,
    *,
    public_id: str,
    by: str | None,
    keep_used: str | None,
    undo_narrowing: bool,
    **options: Any,
) -> None:
    key = arguments.find_key(public_id)
    user = arguments.find_user(by) if by else None
    changes = _changes(key, **options)
    if sum((bool(changes), keep_used is not None, undo_narrowing)) > 1:
        message = "Pass --keep-used or --undo-narrowing alone. Make other changes separately."
        raise LifecycleError("contradictory_arguments", message)
    if undo_narrowing:
        changed = lifecycle.undo(key, by=user)
    elif keep_used is not None:
        days = arguments.duration(keep_used, "keep_used").days
        if not LEAST.days <= days <= MOST_DAYS:
            message = f"--keep-used takes {LEAST.days}d to {MOST_DAYS}d."
            raise LifecycleError("invalid_duration", message, "keep_used")
        changed = lifecycle.keep_used(key, days=days, by=user)
    else:
        changed = lifecycle.edit(key, by=user, **_checked(changes))
    facts = record(arguments.find_key(public_id))
    if terminal.as_json:
        before_and_after = {f: {"before": b, "after": a} for f, (b, a) in changed.items()}
        return terminal.json(facts | {"changes": before_and_after})
    for field, (before, after) in changed.items():
        shown = (show(field, value) for value in (before, after))
        terminal.screen.line(f"{field.replace('_', ' ')}: {' -> '.join(shown)}")
    if not changed:
        terminal.screen.line("Nothing to change: the key has these values.")
    return None


def _changes(
    key: AnyKey,
    *,
    name: str | None,
    scope: list[str] | None,
    project: list[str] | None,
    all_projects: bool,
    expires: str | None,
    issuer: str | None,
    claim: list[str] | None,
    audience: str | None,
    metadata: str | None,
    **options: Any,
) -> dict[str, Any]:
    """Return the changes as arguments of ``lifecycle.edit``."""
    if project and all_projects:
        message = "Give either --project or --all-projects."
        raise LifecycleError("contradictory_arguments", message, "projects")
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = name
    if scope is not None:
        changes["scopes"] = arguments.words(scope)
    if project or all_projects:
        if not key.SELECTS_PROJECTS:
            message = "The project of a project key cannot change. Create another key."
            raise LifecycleError("not_editable", message, "projects")
        changes["projects"] = None
        if project:
            changes["projects"] = [arguments.find_project(slug) for slug in project]
    if expires is not None:
        changes["expires_at"] = arguments.expiry(expires)
    if (trust := arguments.trust(issuer, claim, audience, model=key)) is not None:
        changes["trust"] = trust
    changes |= arguments.metadata(metadata)
    changes |= arguments.texts(options) | arguments.restrictions(options, "edit")
    return changes


def _checked(changes: dict[str, Any]) -> dict[str, Any]:
    """Return ``changes``. Raises ``LifecycleError`` if it is empty."""
    if not changes:
        flags = [
            "--name",
            *arguments.flags_of_texts(),
            "--scope",
            "--project",
            "--all-projects",
            "--expires",
        ]
        flags += [each.option.flag for each in RESTRICTIONS if each.option.edit_help]
        flags += ["--metadata", "--issuer"]
        message = f"Give one or more of {', '.join(flags)}."
        raise LifecycleError("missing_argument", message)
    return changes
