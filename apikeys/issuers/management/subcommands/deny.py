from typing import Any

from django.core.management.base import CommandParser

from ....errors import LifecycleError
from ....management.terminal import Terminal
from ....moments import iso
from ... import denials
from ...conf import issuers_settings
from ...denials import What

HELP = "Refuse the tokens of a subject, a session or a token ID of a trusted issuer."
MORE = "It takes effect at the next request. --remove accepts them again."

_LONGEST = 255


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--issuer", required=True, metavar="URL", help="The issuer: a key of the setting ISSUERS."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--subject", help="The claim sub of the tokens to refuse.")
    what.add_argument("--sid", help="The claim sid of the session to refuse.")
    what.add_argument("--jti", help="The claim jti of the token to refuse.")
    parser.add_argument("--reason", default="", help="Why, for other admins.")
    parser.add_argument("--remove", action="store_true", help="Accept these tokens again.")


def handle(
    terminal: Terminal,
    *,
    issuer: str,
    subject: str | None,
    sid: str | None,
    jti: str | None,
    reason: str,
    remove: bool,
    **options: Any,
) -> None:
    if issuer not in issuers_settings.ISSUERS:
        known = ", ".join(issuers_settings.ISSUERS) or "none"
        message = f"This issuer is not in ISSUERS. The issuers are: {known}."
        raise LifecycleError("unknown_issuer", message, "issuer")
    given = {What.SUBJECT: subject, What.SESSION: sid, What.TOKEN: jti}
    ((what, value),) = ((what, value) for what, value in given.items() if value is not None)
    if not 0 < len(value) <= _LONGEST:
        message = f"--{_OPTIONS[what]} takes 1 to {_LONGEST} characters."
        raise LifecycleError("invalid_value", message, _OPTIONS[what])
    facts = {"issuer": issuer, "what": str(what), "value": value}
    if remove:
        removed = denials.allow(what, issuer, value)
        sentence = "Accepted again." if removed else "These tokens were not denied."
        terminal.show(facts | {"denied": False, "changed": removed}, sentence)
        return
    row, is_new = denials.deny(what, issuer, value, reason=reason[:200])
    sentence = "Denied. Every request with such a token is now refused."
    if not is_new:
        sentence = f"These tokens were already denied, since {iso(row.created_at)}."
    terminal.show(facts | {"denied": True, "changed": is_new, "reason": row.reason}, sentence)


_OPTIONS = {What.SUBJECT: "subject", What.SESSION: "sid", What.TOKEN: "jti"}
