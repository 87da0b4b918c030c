"""A key as an OAuth client: client id = its public id, client secret = the whole key."""

import base64
import binascii
import re
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from django.utils.translation import gettext
from django.views.decorators.debug import sensitive_variables
from oauthlib.oauth2.rfc6749 import errors

from .. import lifecycle, refusals, token
from ..access import Access
from ..conf import app_settings
from ..models import KEY_MODELS, PersonalAccessToken, ProjectKey
from ..refusals import Refused
from ..verify import verify
from .http import AddressedRequest

AnyKey = PersonalAccessToken | ProjectKey

# Refusals of the right secret that may pass; a revocation must not.
_MAY_COME_ALIVE = (
    refusals.APPROVAL_REQUIRED,
    refusals.INACTIVE_USER,
    refusals.INACTIVE_PROJECT,
    refusals.IP_NOT_ALLOWED,
)
_UNDECIDED = (refusals.VERIFICATION_BUSY, refusals.TEMPORARILY_UNAVAILABLE)

_BASIC = re.compile(r"basic\s+(\S+)\s*", re.IGNORECASE)


class Credentials(NamedTuple):
    client_id: str
    secret: str

    def __repr__(self) -> str:
        return f"<Credentials of {self.client_id!r}>"

    @property
    def are_a_key(self) -> bool:
        return token.looks_like_key(self.secret, app_settings.PREFIX)


class VerifiedKey(NamedTuple):
    """A key whose secret was presented, and what it may do."""

    key: AnyKey
    access: Access


@sensitive_variables()
def presented(headers: Any, form: Any) -> Credentials | None:
    """The client's id and secret, of HTTP Basic or the form (RFC 6749 section 2.3.1).

    Raises ``InvalidRequestError`` for both at once, which section 2.3 forbids.
    """
    match = _BASIC.fullmatch(headers.get("HTTP_AUTHORIZATION") or "")
    in_form = form.get("client_secret")
    if match is None:
        client_id = form.get("client_id")
        return Credentials(client_id, in_form) if client_id and in_form else None
    if in_form:
        raise errors.InvalidRequestError("The client authenticates in two ways at once.")
    try:
        text = base64.b64decode(match[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    client_id, colon, secret = text.partition(":")
    return Credentials(unquote_plus(client_id), unquote_plus(secret)) if colon else None


@sensitive_variables("credentials")
def authenticate(credentials: Credentials, headers: Any) -> VerifiedKey:
    """Raises ``InvalidClientError`` unless the client is a live key of that id."""
    try:
        found = verify_key(credentials.secret, headers)
    except Refused as refused:
        refusal = refused.refusal
    else:
        if found.key.public_id == credentials.client_id:
            return found
        refusal = refusals.INVALID_KEY
    if refusal in _UNDECIDED:
        raise errors.TemporarilyUnavailableError(status_code=503)
    raise errors.InvalidClientError(f"The key is refused: {refusal.code}.")


@sensitive_variables("text")
def verify_key(text: str, headers: Any, counts_as_use: bool = True) -> VerifiedKey:
    """Raises ``Refused`` for whatever is not a live key."""
    if not token.looks_like_key(text, app_settings.PREFIX):
        raise Refused(refusals.MALFORMED_KEY)
    access = verify(text, AddressedRequest(headers), counts_as_use=counts_as_use, exchange=True)
    return VerifiedKey(_row(text), access)


@sensitive_variables("text")
def revoke_key(text: str) -> bool:
    """End the key that ``text`` is, whoever presents it; whether it looks like one.

    Whoever has the whole key is entitled to that: it is the key's own client secret.
    Raises ``TemporarilyUnavailableError`` if it cannot be checked right now.
    """
    if not token.looks_like_key(text, app_settings.PREFIX):
        return False
    try:
        verify(text, counts_as_use=False, exchange=True)
    except Refused as refused:
        if refused.refusal in _UNDECIDED:
            raise errors.TemporarilyUnavailableError(status_code=503) from None
        if refused.refusal not in _MAY_COME_ALIVE:
            return True  # RFC 7009 section 2.2: there is nothing to revoke
    lifecycle.revoke(_row(text), reason=gettext("Revoked over OAuth."))
    return True


def _row(text: str) -> AnyKey:
    """The key that ``text``, which was verified, is."""
    _, kind, public_id, _ = text.split("_")
    owner = "user" if kind == token.PAT else "project"
    keys: Any = KEY_MODELS[kind]._default_manager.select_related(owner)
    key: AnyKey = keys.get(public_id=public_id)
    return key
