from typing import Any

from django.core.management.base import CommandParser

from ....errors import LifecycleError
from ....management.subcommands import deny as deny_in_project
from ....management.terminal import Terminal
from ....moments import iso
from ... import denials
from ...conf import issuers_settings
from ...denials import What

HELP = "Deny a credential in a project, or the tokens of a trusted issuer everywhere."
MORE = (
    "Name the ID of a credential and --project. With --issuer, refuse tokens of a trusted issuer "
    "on the whole site, by subject, session or token ID. --remove accepts these tokens again. "
    "Both take effect at the next request."
)

_LONGEST = 255


def add_arguments(parser: CommandParser) -> None:
    deny_in_project.add_arguments(parser, required=False)
    parser.add_argument("--issuer", metavar="URL", help="The issuer: a key of the setting ISSUERS.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--subject", help="The claim sub of the tokens to refuse.")
    what.add_argument("--sid", help="The claim sid of the session to refuse.")
    what.add_argument("--jti", help="The claim jti of the token to refuse.")
    parser.add_argument("--remove", action="store_true", help="Accept these tokens again.")


def handle(
    terminal: Terminal,
    *,
    public_id: str | None,
    project: str | None,
    issuer: str | None,
    subject: str | None,
    sid: str | None,
    jti: str | None,
    reason: str | None,
    remove: bool,
    **options: Any,
) -> None:
    given = {What.SUBJECT: subject, What.SESSION: sid, What.TOKEN: jti}
    named = {what: value for what, value in given.items() if value is not None}
    if issuer is None and not named and not remove and public_id and project:
        deny_in_project.handle(
            terminal, public_id=public_id, project=project, reason=reason, **options
        )
        return
    if issuer is None or not named:
        message = "Name an ID and --project, or --issuer and one of --subject, --sid and --jti."
        raise LifecycleError("missing_argument", message, "issuer")
    if public_id or project:
        message = "Name a credential in a project, or the tokens of an issuer, but not both."
        raise LifecycleError("contradictory_arguments", message, "issuer")
    if issuer not in issuers_settings.ISSUERS:
        known = ", ".join(issuers_settings.ISSUERS) or "none"
        message = f"This issuer is not in ISSUERS. The issuers are: {known}."
        raise LifecycleError("unknown_issuer", message, "issuer")
    ((what, value),) = named.items()
    if not 0 < len(value) <= _LONGEST:
        message = f"--{_OPTIONS[what]} takes 1 to {_LONGEST} characters."
        raise LifecycleError("invalid_value", message, _OPTIONS[what])
    facts = {"issuer": issuer, "what": str(what), "value": value}
    if remove:
        removed = denials.allow(what, issuer, value)
        sentence = "Accepted again." if removed else "These tokens were not denied."
        terminal.show(facts | {"denied": False, "changed": removed}, sentence)
        return
    row, is_new = denials.deny(what, issuer, value, reason=(reason or "")[:200])
    sentence = "Denied. Every request with such a token is now refused."
    if not is_new:
        sentence = f"These tokens were already denied, since {iso(row.created_at)}."
    terminal.show(facts | {"denied": True, "changed": is_new, "reason": row.reason}, sentence)


_OPTIONS = {What.SUBJECT: "subject", What.SESSION: "sid", What.TOKEN: "jti"}
