from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...errors import LifecycleError
from ...models import PersonalAccessToken, ProjectKey
from .. import arguments
from ..prompts import ask, ask_scopes, not_empty
from ..terminal import Terminal

HELP = "Create a token or a key and show it once."
MORE = (
    "With --user you create a personal access token, which acts as that user. With "
    "--project alone you create a key of that project. On a terminal, the command asks for missing "
    "options."
)

_PAT_LIFETIME = "90d"


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--user",
        metavar="USERNAME",
        help="The owner of a personal access token. Required, unless you give --project.",
    )
    parser.add_argument(
        "--project",
        metavar="SLUG",
        action="append",
        help="The owner of a project key. With --user, a project that the token may access "
        "(default: all of the user's projects). Repeat the option for several. Required, unless "
        "you give --user.",
    )
    parser.add_argument(
        "--name",
        help=f"A name that you will recognize, up to {arguments.MAX_NAME} characters. Required. "
        "On a terminal, the command asks for it.",
    )
    arguments.add_texts(parser, "mint")
    parser.add_argument(
        "--scope",
        metavar="SCOPE",
        action="append",
        help="A scope of the key. Repeat the option for several. Required. On a terminal, the "
        "command asks for it.",
    )
    parser.add_argument(
        "--expires",
        metavar="WHEN",
        help="When the key expires: a duration (30m, 12h, 90d, 4w, 1y), an ISO 8601 date or "
        f"date and time, or never (default: {_PAT_LIFETIME} for a personal access token, never "
        "for a project key).",
    )
    arguments.add_restrictions(parser, "mint")
    arguments.add_metadata(
        parser,
        "A JSON object of up to 4 KB for your own code, or @ and a file with it, or @- for "
        "standard input.",
    )
    arguments.add_public_key(
        parser,
        "Create a project key that signs its requests and has no secret. Name a file with its "
        "public key, Ed25519 or P-256, in PEM or as a JWK, or - for standard input.",
    )
    arguments.add_trust(
        parser,
        "Create a project key without a secret that a workload may use, such as a CI job. Name an "
        "issuer of the setting WORKLOAD_ISSUERS, such as github.",
    )


def handle(
    terminal: Terminal,
    *,
    user: str | None,
    project: list[str] | None,
    name: str | None,
    scope: list[str] | None,
    expires: str | None,
    public_key: str | None,
    issuer: str | None,
    claim: list[str] | None,
    audience: str | None,
    metadata: str | None,
    **options: Any,
) -> None:
    given = arguments.texts(options) | arguments.restrictions(options, "mint")
    given |= arguments.metadata(metadata)
    names = arguments.words(scope)
    terminal.require({"--user or --project": user or project, "--name": name, "--scope": names})
    owner = arguments.find_user(user) if user else None
    projects = [arguments.find_project(slug) for slug in project or ()]
    if owner is None and not projects:
        owner, projects = _ask_owner(terminal)
    if owner is None and len(projects) > 1:
        message = "A project key belongs to one project. Give one --project, or --user."
        raise LifecycleError("several_projects", message, "project")
    if owner is not None and public_key is not None:
        message = "--public-key is for project keys. A personal access token has a secret."
        raise LifecycleError("contradictory_arguments", message, "public_key")
    model = ProjectKey if owner is None else PersonalAccessToken
    trust = arguments.trust(issuer, claim, audience, model=model)
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
            trust=trust,
            **given,
        )
    else:
        expires_at = arguments.expiry(_PAT_LIFETIME if expires is None else expires)
        minted = lifecycle.mint(
            user=owner,
            projects=projects or None,
            name=name,
            scopes=names,
            expires_at=expires_at,
            **given,
        )
    terminal.reveal(minted, if_lost=lambda: _withdraw(minted))


def _withdraw(minted: lifecycle.Minted[Any]) -> str:
    key = minted.key
    if not minted.token:
        return f"The key {key.public_id} was created."
    lifecycle.revoke(key, reason="It could not be printed.")
    return f"The key {key.public_id} was created and revoked, because it could not be printed."


def _ask_owner(terminal: Terminal) -> tuple[Any, list[Any]]:
    user = ask(
        terminal.notes,
        "Username (empty for a project key): ",
        lambda answer: arguments.find_user(answer) if answer else None,
    )
    if user is not None:
        return user, []
    return None, [ask(terminal.notes, "Project slug: ", arguments.find_project)]
