"""All reasons for which a request is refused.

A refusal has a ``code`` for programs, a message for people, an HTTP status, and the ``error`` of
RFC 6750 section 3.1 for ``WWW-Authenticate``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

__all__ = ["REFUSALS", "Refusal", "Refused"]

#: All refusals by code. Each is also a constant of this module.
REFUSALS: dict[str, "Refusal"] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Refusal:
    """A reason to refuse a request, with its response (RFC 6750 section 3.1)."""

    code: str
    message: str | Promise
    status: int = 401
    error: str | None = "invalid_token"
    #: Seconds, for ``Retry-After`` (RFC 9110 section 10.2.3).
    retry_after: int | None = None

    def __post_init__(self) -> None:
        REFUSALS.setdefault(self.code, self)  # others with the same code have another message


NOT_AUTHENTICATED = Refusal(
    "not_authenticated",
    _("No credential was sent. Send one as `Authorization: Bearer <credential>`."),
    # RFC 6750 section 3.1: no error code when the request lacks any credential.
    error=None,
)
NOT_ACCEPTED_FORM: Final = _(
    "The Authorization header has the form `{form}`, which is not accepted here. "
    "Send `Authorization: Bearer <credential>`."
)
INVALID_REQUEST = Refusal(
    "invalid_request",
    _("The Authorization header must be `Bearer <credential>` with exactly one credential."),
    status=400,
    error="invalid_request",
)
INVALID_BASIC = Refusal(
    "invalid_basic",
    _(
        "For Basic authentication, send the key as the user name and an empty password: "
        "`curl -u <key>:`."
    ),
    status=400,
    error="invalid_request",
)
MALFORMED_KEY = Refusal(
    "malformed_key", _("This credential is malformed. Check that you copied all of it.")
)
INVALID_KEY = Refusal(
    "invalid_key", _("This credential is not valid. Check that you use the right one.")
)
EXPIRED_KEY = Refusal("expired_key", _("This credential has expired. Create a new one."))
REVOKED_KEY = Refusal("revoked_key", _("This credential was revoked. Create a new one."))
PAUSED_KEY = Refusal(
    "paused_key",
    _(
        "This credential is paused. Resume it before you use it. If a site admin paused it, ask a "
        "site admin."
    ),
)
SECRET_ENDED = Refusal(
    "secret_ended",
    _(
        "The secret of this key has stopped working, because the key trusts a workload now. "
        "Exchange the workload's identity token at the token endpoint."
    ),
)
LEGACY_ENDED = Refusal(
    "legacy_ended",
    _(
        "Credentials in this header are no longer accepted. Create a new one and send it as "
        "`Authorization: Bearer <credential>`."
    ),
)
APPROVAL_REQUIRED = Refusal(
    "approval_required",
    _("This credential is pending approval. Ask a manager of the project's keys, or a site admin."),
)
EXCHANGE_REQUIRED = Refusal(
    "exchange_required",
    _(
        "This credential cannot call the API directly. Exchange it for an access token at the "
        "token endpoint."
    ),
)
INACTIVE_USER = Refusal("inactive_user", _("The user of this credential is deactivated."))
INACTIVE_PROJECT = Refusal("inactive_project", _("The project of this key is deactivated."))
INVALID_TOKEN = Refusal(
    "invalid_token",
    _("This access token is unknown, expired or revoked. Get a new one."),
)
MALFORMED_TOKEN = Refusal(
    "malformed_token",
    _("This token is not a well-formed JWT. Check that you copied all of it."),
)
TOKEN_TOO_LARGE = Refusal(
    "token_too_large",
    _("This token is larger than 16 KiB. Ask its issuer for a token with fewer claims."),
)
TOKEN_TOO_DEEP = Refusal(
    "token_too_deep",
    _("The claims of this token are nested too deeply. Ask its issuer for simpler claims."),
)
DUPLICATE_CLAIM = Refusal(
    "duplicate_claim",
    _("This token names a claim or header parameter twice. Ask its issuer for a valid token."),
)
UNSUPPORTED_HEADER = Refusal(
    "unsupported_header",
    _("The header of this token has a parameter that is not accepted, such as crit, jku or x5u."),
)
ALGORITHM_NOT_ACCEPTED = Refusal(
    "algorithm_not_accepted",
    _("The signature algorithm of this token is not accepted from its issuer."),
)
TOKEN_TYPE_NOT_ACCEPTED = Refusal(
    "token_type_not_accepted",
    _("A token of this type is not accepted here. Send a bearer access token."),
)
ID_TOKEN_NOT_ACCEPTED = Refusal(
    "id_token_not_accepted",
    _("This is an ID token, which tells a client who logged in. Send the access token."),
)
UNTRUSTED_ISSUER = Refusal(
    "untrusted_issuer", _("This token comes from an issuer that is not trusted here.")
)
MISSING_CLAIM = Refusal(
    "missing_claim",
    _("This token lacks a required claim. It needs at least iss, sub and exp."),
)
EXPIRED_TOKEN = Refusal(
    "expired_token", _("This token has expired. Get a new one from its issuer.")
)
TOKEN_NOT_YET_VALID = Refusal(
    "token_not_yet_valid",
    _("This token is not valid yet. Check your clock, or try again later."),
)
WRONG_AUDIENCE = Refusal(
    "wrong_audience",
    _("This token is for another audience. Request a token for this API."),
)
WRONG_CLIENT = Refusal(
    "wrong_client",
    _("This token was issued to a client that is not accepted here."),
)
REVOKED_TOKEN = Refusal(
    "revoked_token",
    _("This token was revoked, or its user logged out. Get a new one from its issuer."),
)
UNKNOWN_IDENTITY = Refusal(
    "unknown_identity",
    _("This token is valid, but its user has no account here. Ask a site admin to create one."),
)
UNKNOWN_SIGNING_KEY = Refusal(
    "unknown_signing_key",
    _("The key that signed this token is not a public key of its issuer. Get a new token."),
)
INVALID_TOKEN_SIGNATURE = Refusal(
    "invalid_token_signature",
    _("The signature of this token does not match. Check that you copied all of it."),
)
ISSUER_UNAVAILABLE = Refusal(
    "issuer_unavailable",
    _("The issuer's public keys cannot be fetched right now. Try again in a moment."),
    status=503,
    error=None,
    retry_after=30,
)
WORKLOAD_NOT_TRUSTED = Refusal(
    "workload_not_trusted",
    _("No key trusts this workload. Compare the claims of its token with the rules of the key."),
)
PULL_REQUEST_NOT_TRUSTED = Refusal(
    "pull_request_not_trusted",
    _("The key does not trust runs for pull requests. Add a rule about the event to allow them."),
)
SEVERAL_KEYS = Refusal(
    "several_keys",
    _("Several keys trust this workload. Send the ID of one of them as client_id."),
)
REPLAYED_TOKEN = Refusal(
    "replayed_token",
    _("This token was already exchanged. Get a new one from its issuer for each exchange."),
)
TOKEN_LIVES_TOO_LONG = Refusal(
    "token_lives_too_long",
    _("This token is valid for too long. Ask its issuer for a shorter lifetime."),
)
MALFORMED_SIGNATURE = Refusal(
    "malformed_signature",
    _("Send exactly one signature in Signature-Input and Signature (RFC 9421)."),
    status=400,
    error="invalid_request",
)
INCOMPLETE_SIGNATURE = Refusal(
    "incomplete_signature",
    _(
        "The signature must cover @method, @target-uri (or @authority, @path and @query) and, "
        "with a body, content-digest. It needs the parameters created, nonce and keyid."
    ),
)
STALE_SIGNATURE = Refusal(
    "stale_signature",
    _("The signature is too old or in the future. Check your clock and sign the request again."),
)
INVALID_SIGNATURE = Refusal(
    "invalid_signature",
    _("The signature does not match the key, method, URL and header fields of this request."),
)
DIGEST_MISMATCH = Refusal("digest_mismatch", _("The body does not match its Content-Digest."))
REPLAYED_SIGNATURE = Refusal(
    "replayed_signature",
    _("The nonce of this signature was already used. Sign each request with a new nonce."),
)
BODY_NOT_COMPARED = Refusal(
    "body_not_compared",
    _(
        "Signed requests cannot have a body here, because it cannot be compared with its "
        "Content-Digest."
    ),
    status=403,
    error=None,
)
SIGNATURE_NOT_ACCEPTED = Refusal(
    "signature_not_accepted",
    _("Signed requests are not accepted here. Send a key as `Authorization: Bearer <key>`."),
)
IP_NOT_ALLOWED = Refusal(
    "ip_not_allowed",
    _("This request comes from an address outside the credential's allowed IP ranges."),
    status=403,
    error=None,
)
VERIFICATION_BUSY = Refusal(
    "verification_busy",
    _("This credential cannot be checked right now. Try again in a minute."),
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
    _("Rate limit exceeded. Try again after the number of seconds in Retry-After."),
    status=429,
    error=None,
)
RATE_LIMIT_UNAVAILABLE = Refusal(
    "rate_limit_unavailable",
    _("The rate limit cannot be checked right now. Try again in a moment."),
    status=503,
    error=None,
    retry_after=5,
)
INSUFFICIENT_SCOPE = Refusal(
    "insufficient_scope",
    _("This request needs the scope {scope}, which your credential does not have here."),
    status=403,
    error="insufficient_scope",
)
DENIED_IN_PROJECT = Refusal(
    "denied_in_project",
    _("Your credential was denied in this project. The settings pages show the reason."),
    status=403,
    error=None,
)
CREDENTIAL_NOT_ACCEPTED = Refusal(
    "credential_not_accepted",
    _("This kind of credential is not accepted here. Use another kind."),
    status=403,
    error=None,
)
ACCEPTED_KINDS: Final = _(
    "This kind of credential is not accepted here. Use one of these kinds: {kinds}."
)
USER_REQUIRED = Refusal(
    "user_required",
    _("This request needs a user, which your credential does not have. Use a token of a user."),
    status=403,
    error=None,
)
SCOPE_NOT_DECLARED = Refusal(
    "scope_not_declared",
    _(
        "The view {view} declares no scope for {method}, so it refuses every credential. "
        "Give the view the permission HasScope, and at least one scope in `required_scopes`."
    ),
    status=403,
    error="insufficient_scope",
)
NO_ROUTE = Refusal(
    "no_route", _("The gateway has no route for this method and path."), status=403, error=None
)
AMBIGUOUS_PATH = Refusal(
    "ambiguous_path",
    _(
        "Servers could read this path or query in different ways. Do not use dot segments, double "
        "slashes, semicolons or unnecessary percent-encoding."
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
ORIGIN_NOT_ALLOWED = Refusal(
    "origin_not_allowed",
    _("No route of the gateway allows pages of this origin to use this method and path."),
    status=403,
    error=None,
)
ORIGINAL_REQUEST_UNKNOWN = Refusal(
    "original_request_unknown",
    _(
        "The proxy did not send the original request, or sent it twice. Compare its configuration "
        "with the setting GATEWAY_PROXY."
    ),
    status=403,
    error=None,
)
MALFORMED_REQUEST = Refusal(
    "malformed_request",
    _("Servers could read this request in different ways. Send each header only once."),
    status=400,
    error=None,
)
REQUEST_TOO_LARGE = Refusal(
    "request_too_large",
    _("The request body is larger than the gateway allows."),
    status=413,
    error=None,
)
REQUEST_TIMEOUT = Refusal(
    "request_timeout", _("The request body took too long to arrive."), status=408, error=None
)
UPSTREAM_UNAVAILABLE = Refusal(
    "upstream_unavailable", _("The upstream does not respond."), status=502, error=None
)
UPSTREAM_BUSY = Refusal(
    "upstream_busy",
    _("The gateway has no free connection to the upstream. Try again in a moment."),
    status=503,
    error=None,
)
UPSTREAM_TIMEOUT = Refusal(
    "upstream_timeout",
    _("The upstream took too long to respond."),
    status=504,
    error=None,
)


class Refused(Exception):  # noqa: N818 - a refusal, not a fault
    """Raised to refuse a credential. ``refusal`` says why; ``str()`` is safe to log.

    ``headers`` are more header fields for the response.
    """

    def __init__(self, refusal: Refusal, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.headers = headers

    @property
    def retry_after(self) -> int | None:
        """The seconds for ``Retry-After``, or ``None``."""
        given = self.headers.get("Retry-After")
        return self.refusal.retry_after if given is None else int(given)

    @property
    def fields(self) -> dict[str, str]:
        """The ``headers`` except ``Retry-After``."""
        return {name: value for name, value in self.headers.items() if name != "Retry-After"}
