from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...lifecycle import LifecycleError
from ...models import PersonalAccessToken
from ...records import AnyKey, record
from .. import arguments
from ..output import show
from ..terminal import Terminal

HELP = "Change a key's name, scopes, projects or expiry, from the next request on."
MORE = "What is not given stays as it is."


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser)
    parser.add_argument("--name", help="A new name.")
    parser.add_argument(
        "--scope",
        metavar="SCOPE",
        action="append",
        help="All scopes that it is to have (may be given several times).",
    )
    parser.add_argument(
        "--project",
        metavar="SLUG",
        action="append",
        help="All projects that a personal access token is to be restricted to (may be given "
        "several times).",
    )
    parser.add_argument(
        "--all-projects",
        action="store_true",
        help="Lift a personal access token's restriction to some projects.",
    )
    parser.add_argument("--expires", metavar="WHEN", help="When it expires, as for mint.")
    parser.add_argument(
        "--allow-network",
        metavar="CIDR",
        action="append",
        help="All networks from which it is to be allowed; `any` for no bound.",
    )
    parser.add_argument(
        "--rate-limit",
        metavar="RATE",
        action="append",
        help="All rate limits that it is to have; `none` for no bound.",
    )
    parser.add_argument("--by", metavar="USERNAME", help="The user who changes it.")


def handle(terminal: Terminal, *, public_id: str, by: str | None, **options: Any) -> None:
    key = arguments.find_key(public_id)
    changes = _changes(key, **options)
    user = arguments.find_user(by) if by else None
    changed = lifecycle.edit(key, by=user, **changes)
    facts = record(arguments.find_key(public_id))
    if terminal.as_json:
        before_and_after = {f: {"before": b, "after": a} for f, (b, a) in changed.items()}
        return terminal.json(facts | {"changes": before_and_after})
    for field, (before, after) in changed.items():
        told = (show(field, value) for value in (before, after))
        terminal.screen.line(f"{field.replace('_', ' ')}: {' -> '.join(told)}")
    if not changed:
        terminal.screen.line("It was so already; nothing was changed.")
    return None


def _changes(
    key: AnyKey,
    *,
    name: str | None,
    scope: list[str] | None,
    project: list[str] | None,
    all_projects: bool,
    expires: str | None,
    allow_network: list[str] | None,
    rate_limit: list[str] | None,
    **options: Any,
) -> dict[str, Any]:
    """What is to be changed, as arguments of ``lifecycle.edit``."""
    if project and all_projects:
        message = "Either --project or --all-projects."
        raise LifecycleError("contradictory_arguments", message, "projects")
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = name
    if scope is not None:
        changes["scopes"] = arguments.words(scope)
    if project or all_projects:
        if not isinstance(key, PersonalAccessToken):
            message = "A project key belongs to one project, for good: mint another."
            raise LifecycleError("not_editable", message, "projects")
        changes["projects"] = None
        if project:
            changes["projects"] = [arguments.find_project(slug) for slug in project]
    if expires is not None:
        changes["expires_at"] = arguments.expiry(expires)
    if allow_network is not None:
        changes["allowed_networks"] = [] if allow_network == ["any"] else allow_network
    if rate_limit is not None:
        changes["rate_limits"] = [] if rate_limit == ["none"] else rate_limit
    if not changes:
        message = (
            "Say what to change, with one or more of --name, --scope, --project, "
            "--all-projects, --expires, --allow-network, --rate-limit."
        )
        raise LifecycleError("missing_argument", message)
    return changes
