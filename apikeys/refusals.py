"""Why a request is refused: every reason, in one place.

A refusal has the ``code`` that programs read, the sentence that people read, the HTTP
status, and the ``error`` of RFC 6750 section 3.1 that goes into ``WWW-Authenticate``.
"""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

__all__ = ["REFUSALS", "Refusal", "Refused"]

#: Every refusal by its code; each is also a constant of this module.
REFUSALS: dict[str, "Refusal"] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Refusal:
    """A reason to refuse a request, and how it is told (RFC 6750 section 3.1)."""

    code: str
    message: str | Promise
    status: int = 401
    error: str | None = "invalid_token"
    #: Seconds, for ``Retry-After`` (RFC 9110 section 10.2.3).
    retry_after: int | None = None

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
INVALID_BASIC = Refusal(
    "invalid_basic",
    _("Basic authentication takes a key as the user name and no password: `curl -u <key>:`."),
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
LEGACY_ENDED = Refusal(
    "legacy_ended",
    _("Keys are not taken in this form any more. Mint a new one, and send it behind `Bearer`."),
)
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
MALFORMED_SIGNATURE = Refusal(
    "malformed_signature",
    _("Signature-Input and Signature are not one signature with its parameters (RFC 9421)."),
    status=400,
    error="invalid_request",
)
INCOMPLETE_SIGNATURE = Refusal(
    "incomplete_signature",
    _(
        "The signature has to cover @method, @target-uri (or @authority, @path and @query) and, "
        "with a body, content-digest; and to have created, nonce and keyid."
    ),
)
STALE_SIGNATURE = Refusal(
    "stale_signature",
    _("The signature was made too long ago, or in the future. Set your clock, and sign anew."),
)
INVALID_SIGNATURE = Refusal(
    "invalid_signature",
    _("No key with this id made this signature for this method, URL and header fields."),
)
DIGEST_MISMATCH = Refusal(
    "digest_mismatch",
    _("The body is not the one that Content-Digest was made of."),
)
REPLAYED_SIGNATURE = Refusal(
    "replayed_signature",
    _("The nonce of this signature was used before. Sign each request anew."),
)
BODY_NOT_COMPARED = Refusal(
    "body_not_compared",
    _("A signed request with a body is not taken here: nobody can compare it with its digest."),
    status=403,
    error=None,
)
SIGNATURE_NOT_ACCEPTED = Refusal(
    "signature_not_accepted",
    _("Signed requests are not taken here. Send a key as `Authorization: Bearer <key>`."),
)
IP_NOT_ALLOWED = Refusal(
    "ip_not_allowed",
    _("This key may not be used from where this request comes from."),
    status=403,
    error=None,
)
VERIFICATION_BUSY = Refusal(
    "verification_busy",
    _("This key cannot be checked right now. Try again in a minute."),
    status=503,
    error=None,
    retry_after=60,
)
TEMPORARILY_UNAVAILABLE = Refusal(
    "temporarily_unavailable",
    _("Credentials cannot be checked right now. Try again in a moment."),
    status=503,
    error=None,
    retry_after=5,
)
RATE_LIMITED = Refusal(
    "rate_limited",
    _("This credential was used too often. Try again after the time in Retry-After."),
    status=429,
    error=None,
)
RATE_LIMIT_UNAVAILABLE = Refusal(
    "rate_limit_unavailable",
    _("It cannot be told right now how often this credential was used. Try again in a moment."),
    status=503,
    error=None,
    retry_after=5,
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
NO_ROUTE = Refusal(
    "no_route",
    _("No route of this gateway allows this method and this path."),
    status=403,
    error=None,
)
AMBIGUOUS_PATH = Refusal(
    "ambiguous_path",
    _(
        "Servers differ in what they make of this path or query. Send it in its plainest form: "
        "no dot segments, doubled slashes, semicolons or needless percent-encoding."
    ),
    status=403,
    error=None,
)
NOT_BOUND = Refusal(
    "not_bound",
    _("This {kind} does not belong to the user or project of your credential."),
    status=403,
    error=None,
)
ORIGINAL_REQUEST_UNKNOWN = Refusal(
    "original_request_unknown",
    _(
        "The proxy does not say, or says twice, which request it asks about. Compare its "
        "configuration with the setting GATEWAY_PROXY."
    ),
    status=403,
    error=None,
)
MALFORMED_REQUEST = Refusal(
    "malformed_request",
    _(
        "This request is framed in a way that servers read differently. "
        "Send each of its headers once."
    ),
    status=400,
    error=None,
)
REQUEST_TOO_LARGE = Refusal(
    "request_too_large",
    _("The body of this request is larger than the gateway takes."),
    status=413,
    error=None,
)
REQUEST_TIMEOUT = Refusal(
    "request_timeout",
    _("The body of this request took too long to come."),
    status=408,
    error=None,
)
UPSTREAM_UNAVAILABLE = Refusal(
    "upstream_unavailable",
    _("The server behind the gateway does not answer."),
    status=502,
    error=None,
)
UPSTREAM_BUSY = Refusal(
    "upstream_busy",
    _("The gateway has no connection left to the server behind it. Try again in a moment."),
    status=503,
    error=None,
)
UPSTREAM_TIMEOUT = Refusal(
    "upstream_timeout",
    _("The server behind the gateway took too long to answer."),
    status=504,
    error=None,
)


class Refused(Exception):  # noqa: N818 - the word of this package for it
    """A credential is refused. ``refusal`` says why; ``str()`` is safe to log."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
