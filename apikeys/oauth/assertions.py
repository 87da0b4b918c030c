"""Exchange signed assertions for access tokens: of workloads, and of keys with a public key.

A workload sends its identity token (RFC 7523 section 2.1, RFC 8693). A key with a public key
signs a JWT about itself (``private_key_jwt``, RFC 7523 section 2.2). ``apikeys.issuers`` checks
the signatures, so the site needs that app.
"""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import apps
from django.urls import NoReverseMatch, reverse
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2.rfc6749 import errors

from .. import refusals
from ..conf import app_settings
from ..refusals import Refused
from . import issue, jwts, key_clients, targets
from .http import AddressedRequest, issuer
from .key_clients import VerifiedKey

#: The value of ``client_assertion_type`` (RFC 7523 section 2.2).
CLIENT_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: The algorithms of keys that hold a public key: Ed25519 and P-256.
ALGORITHMS: Final = ("EdDSA", "Ed25519", "ES256")
#: The longest lifetime of a key's assertion, in seconds.
LONGEST: Final = 60 * 60

Refuse = Callable[[Refused], Exception]


def is_available() -> bool:
    """Return whether the site has the app that checks signatures."""
    return apps.is_installed("apikeys.issuers")


@sensitive_variables()
def is_of_workload(text: str) -> bool:
    """Return whether ``text`` names an issuer of workloads that the site trusts."""
    if not is_available():
        return False
    from ..issuers import workloads

    return workloads.issuer_of(text) is not None


@sensitive_variables()
def answer_workload(
    request: Any, generator: Any, text: str, refuse: Refuse, *, as_jwt: bool
) -> dict[str, Any]:
    """Issue a token for the key that trusts the workload whose token ``text`` is.

    ``refuse`` returns the error of a refusal. A request that fails does not use the token up.
    """
    from ..issuers import workloads

    if request._params.get("client_secret") or request.headers.get("HTTP_AUTHORIZATION"):
        raise errors.InvalidRequestError("Send the ID of the key as client_id, without a secret.")
    key_id = request._params.get("client_id") or None
    try:
        key, access, use_up = workloads.exchange(text, AddressedRequest(request.headers), key_id)
    except Refused as refused:
        raise refuse(refused) from None
    return _issue(request, generator, VerifiedKey(key, access), use_up, refuse, as_jwt)


@sensitive_variables()
def answer_key(request: Any, generator: Any, *, as_jwt: bool) -> dict[str, Any]:
    """Issue a token for the key that signed ``client_assertion``. Raise ``InvalidClientError``."""
    params = request._params
    if params.get("client_assertion_type") != CLIENT_ASSERTION or not is_available():
        raise errors.InvalidClientError("This type of client assertion is not supported.")
    if key_clients.presented(request.headers, params) is not None:
        raise errors.InvalidRequestError("The client used more than one authentication method.")
    try:
        verified, use_up = _signed_by_key(params.get("client_assertion") or "", request.headers)
        if params.get("client_id") not in (None, "", verified.key.public_id):
            raise Refused(refusals.INVALID_KEY)
    except Refused as refused:
        raise _refuse_key(refused) from None
    return _issue(request, generator, verified, use_up, _refuse_key, as_jwt)


def _refuse_key(refused: Refused) -> Exception:
    key_clients.check_decided(refused)
    error: Exception = errors.InvalidClientError(f"The key was refused: {refused.refusal.code}.")
    return error


@sensitive_variables()
def _signed_by_key(text: str, headers: Any) -> tuple[VerifiedKey, Callable[[], None]]:
    from ..issuers import assertions

    key, access, use_up = assertions.verify(
        text, AddressedRequest(headers), _audiences(headers), longest=LONGEST
    )
    return VerifiedKey(key, access), use_up


def _audiences(headers: Any) -> list[str]:
    """Return how an assertion may name this server (RFC 7523 section 3): its issuer or endpoint."""
    name = issuer(headers)
    names = [name if oauth2_settings.OIDC_ISS_ENDPOINT else _at_this_site(name)]
    try:
        path = reverse("oauth2_provider:token")
    except NoReverseMatch:
        return names
    return [*names, _at_this_site(AddressedRequest(headers).build_absolute_uri(path))]


def _at_this_site(url: str) -> str:
    """Return ``url`` at ``SITE_URL``. The Host header may name another site of this server."""
    if not app_settings.SITE_URL:
        return url
    own = urlsplit(app_settings.SITE_URL)
    return urlsplit(url)._replace(scheme=own.scheme, netloc=own.netloc).geturl()


@sensitive_variables()
def _issue(
    request: Any,
    generator: Any,
    verified: VerifiedKey,
    use_up: Callable[[], None],
    refuse: Refuse,
    as_jwt: bool,
) -> dict[str, Any]:
    subject = issue.Subject.of_key(verified)
    issue.narrowed_scope(request.scopes, subject)
    resource = targets.requested(request, subject.resource)
    if as_jwt or targets.take_jwts(resource):
        jwts.check_available()
    try:
        use_up()
    except Refused as refused:
        raise refuse(refused) from None
    return issue.answer(request, generator, subject, as_jwt=as_jwt)
