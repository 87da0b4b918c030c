"""Why a request is refused: every reason, in one place.

A refusal has the ``code`` that programs read, the sentence that people read, the HTTP
status, and the ``error`` of RFC 6750 section 3.1 that goes into ``WWW-Authenticate``.
"""

from dataclasses import dataclass, field

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

REFUSALS: dict[str, "Refusal"] = {}


@dataclass(frozen=True, slots=True)
class Refusal:
    code: str
    message: str | Promise = field(compare=False)
    status: int = 401
    error: str | None = "invalid_token"

    def __post_init__(self) -> None:
        REFUSALS[self.code] = self


NOT_AUTHENTICATED = Refusal(
    "not_authenticated",
    _("No credential was sent. Send one as `Authorization: Bearer <credential>`."),
    # RFC 6750 section 3.1: no error code when the request lacks any credential.
    error=None,
)
INVALID_REQUEST = Refusal(
    "invalid_request",
    _("The Authorization header is not `Bearer <credential>` with exactly one credential."),
    status=400,
    error="invalid_request",
)
MALFORMED_KEY = Refusal(
    "malformed_key",
    _("This is not a well-formed key. Check that it was copied whole."),
)
INVALID_KEY = Refusal("invalid_key", _("No such key. Check that you use the right one."))
EXPIRED_KEY = Refusal("expired_key", _("This key has expired. Mint a new one."))
REVOKED_KEY = Refusal("revoked_key", _("This key was revoked. Mint a new one."))
APPROVAL_REQUIRED = Refusal(
    "approval_required",
    _("This key has to be approved by an admin before it can be used."),
)
EXCHANGE_REQUIRED = Refusal(
    "exchange_required",
    _("This key is for exchange only. Get an access token for it at the token endpoint."),
)
INACTIVE_USER = Refusal("inactive_user", _("The user behind this credential is deactivated."))
INACTIVE_PROJECT = Refusal("inactive_project", _("The project of this key is deactivated."))
INVALID_TOKEN = Refusal(
    "invalid_token",
    _("No such access token, or it has expired or was revoked. Get a new one."),
)
VERIFICATION_BUSY = Refusal(
    "verification_busy",
    _("This key cannot be checked right now. Try again in a minute."),
    status=503,
    error=None,
)
INSUFFICIENT_SCOPE = Refusal(
    "insufficient_scope",
    _("This needs the scope {scope}, which your credential does not have here."),
    status=403,
    error="insufficient_scope",
)
SCOPE_NOT_DECLARED = Refusal(
    "scope_not_declared",
    _(
        "The view {view} declares no scope for {method}, so it refuses every key and token. "
        "Give it the permission HasScope and `required_scopes`."
    ),
    status=403,
    error="insufficient_scope",
)


class Refused(Exception):  # noqa: N818 - the word of this package for it
    """A credential is refused. ``refusal`` says why; ``str()`` is safe to log."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
