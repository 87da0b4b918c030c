from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...lifecycle import LifecycleError
from .. import arguments
from ..prompts import ask, ask_scopes, not_empty
from ..terminal import Terminal

HELP = "Make a key and show its token, once."
MORE = (
    "With --user it is a personal access token, which acts on behalf of that user, in the given "
    "projects only if there are any. With --project alone it is a key of that project. What is "
    "left out is asked for on a terminal."
)

_PAT_LIFETIME = "90d"


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--user", metavar="USERNAME", help="Whose personal access token it is.")
    parser.add_argument(
        "--project",
        metavar="SLUG",
        action="append",
        help="The project of a project key; or one that a personal access token is "
        "restricted to (may be given several times).",
    )
    parser.add_argument("--name", help="What it is for, to tell it from others.")
    parser.add_argument(
        "--scope",
        metavar="SCOPE",
        action="append",
        help="What it may be used for (may be given several times).",
    )
    parser.add_argument(
        "--expires",
        metavar="WHEN",
        help="A duration (30m, 12h, 90d, 4w, 1y), an ISO 8601 date or date and time, or "
        f"never. By default {_PAT_LIFETIME} for a personal access token, never for a "
        "project key.",
    )
    parser.add_argument(
        "--allow-network",
        metavar="CIDR",
        action="append",
        help="A network from which alone it may be used (may be given several times).",
    )
    parser.add_argument(
        "--rate-limit",
        metavar="RATE",
        action="append",
        help="How often it may be used, such as 1000/hour (may be given several times).",
    )
    parser.add_argument(
        "--no-direct-use",
        action="store_true",
        help="Keep it for exchange: requests with it are refused, and only the token "
        "endpoint takes it, for a short access token (needs apikeys.oauth).",
    )
    arguments.add_public_key(
        parser,
        "Make a project key that signs requests and has no secret: a file with its public key, "
        "Ed25519 or P-256, in PEM or as a JWK; - for standard input.",
    )


def handle(
    terminal: Terminal,
    *,
    user: str | None,
    project: list[str] | None,
    name: str | None,
    scope: list[str] | None,
    expires: str | None,
    allow_network: list[str] | None,
    rate_limit: list[str] | None,
    no_direct_use: bool,
    public_key: str | None,
    **options: Any,
) -> None:
    bounds: dict[str, Any] = {
        "allowed_networks": allow_network or (),
        "rate_limits": rate_limit or (),
        "direct_use": not no_direct_use,
    }
    names = arguments.words(scope)
    terminal.require({"--user or --project": user or project, "--name": name, "--scope": names})
    owner = arguments.find_user(user) if user else None
    projects = [arguments.find_project(slug) for slug in project or ()]
    if owner is None and not projects:
        owner, projects = _ask_owner(terminal)
    if owner is None and len(projects) > 1:
        message = "A project key belongs to one project: give one --project, or a --user."
        raise LifecycleError("several_projects", message, "project")
    if owner is not None and public_key is not None:
        message = "A personal access token has a secret: --public-key is for project keys."
        raise LifecycleError("contradictory_arguments", message, "public_key")
    name = name or ask(terminal.notes, "Name: ", not_empty)
    names = names or ask_scopes(terminal.notes)
    if owner is None:
        expires_at = arguments.expiry("never" if expires is None else expires)
        minted: lifecycle.Minted[Any] = lifecycle.mint(
            project=projects[0],
            name=name,
            scopes=names,
            expires_at=expires_at,
            public_key=arguments.public_key(public_key),
            **bounds,
        )
    else:
        expires_at = arguments.expiry(_PAT_LIFETIME if expires is None else expires)
        minted = lifecycle.mint(
            user=owner,
            projects=projects or None,
            name=name,
            scopes=names,
            expires_at=expires_at,
            **bounds,
        )
    terminal.reveal(minted, if_lost=lambda: _withdraw(minted))


def _withdraw(minted: lifecycle.Minted[Any]) -> str:
    key = minted.key
    if not minted.token:
        return f"The key {key.public_id} was made."
    lifecycle.revoke(key, reason="Its text could not be shown.")
    return f"The key {key.public_id} was made but could not be shown, and so was revoked."


def _ask_owner(terminal: Terminal) -> tuple[Any, list[Any]]:
    user = ask(
        terminal.notes,
        "Username (empty for a project key): ",
        lambda answer: arguments.find_user(answer) if answer else None,
    )
    if user is not None:
        return user, []
    return None, [ask(terminal.notes, "Slug of the project: ", arguments.find_project)]
