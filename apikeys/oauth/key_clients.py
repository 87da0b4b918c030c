"""Authenticate a key as an OAuth client: its ID is the client ID, the key is the secret."""

import base64
import re
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from django.utils.translation import gettext
from django.views.decorators.debug import sensitive_variables
from oauthlib.oauth2.rfc6749 import errors

from .. import lifecycle, refusals, token
from ..access import Access
from ..conf import app_settings
from ..databases import unavailable
from ..models import KEY_MODELS, AnyKey
from ..refusals import Refusal, Refused
from ..restrictions import CODES
from ..verify import verify
from .http import AddressedRequest

# Refusals of the right secret that may be temporary. Such a key can still be revoked.
_MAY_COME_ALIVE = {
    refusals.APPROVAL_REQUIRED.code,
    refusals.PAUSED_KEY.code,
    refusals.INACTIVE_USER.code,
    refusals.INACTIVE_PROJECT.code,
    *CODES,
}

_BASIC = re.compile(r"basic\s+(\S+)\s*", re.IGNORECASE)


class Undecided(errors.TemporarilyUnavailableError):  # type: ignore[misc,unused-ignore]
    """The key cannot be checked right now: answer 503 with ``Retry-After``."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(status_code=503)
        self.seconds = refusal.retry_after

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.seconds)}


def check_decided(refused: Refused) -> None:
    """Raise ``Undecided`` if the key was refused because it could not be checked."""
    if unavailable.reason(refused) is not None:
        raise Undecided(refused.refusal) from None


class Credentials(NamedTuple):
    client_id: str
    secret: str

    def __repr__(self) -> str:
        return f"<Credentials of {self.client_id!r}>"

    @property
    def are_a_key(self) -> bool:
        return token.looks_like_key(self.secret, app_settings.PREFIX)


class VerifiedKey(NamedTuple):
    """A key whose secret was checked, and its ``Access``."""

    key: AnyKey
    access: Access


@sensitive_variables()
def presented(headers: Any, form: Any) -> Credentials | None:
    """Return the client's ID and secret from HTTP Basic or the form (RFC 6749 section 2.3.1).

    Raise ``InvalidRequestError`` if both are present, which section 2.3 forbids.
    """
    match = _BASIC.fullmatch(headers.get("HTTP_AUTHORIZATION") or "")
    in_form = form.get("client_secret")
    if match is None:
        client_id = form.get("client_id")
        return Credentials(client_id, in_form) if client_id and in_form else None
    if in_form:
        raise errors.InvalidRequestError("The client used more than one authentication method.")
    try:
        text = base64.b64decode(match[1], validate=True).decode()
    except ValueError:  # not base64, not ASCII, or not UTF-8 inside
        return None
    client_id, colon, secret = text.partition(":")
    return Credentials(unquote_plus(client_id), unquote_plus(secret)) if colon else None


@sensitive_variables()
def authenticate(credentials: Credentials, headers: Any) -> VerifiedKey:
    """Return the key that ``credentials`` are. Raise ``InvalidClientError`` unless it is active."""
    try:
        found = verify_key(credentials.secret, headers)
    except Refused as refused:
        check_decided(refused)
        refusal = refused.refusal
    else:
        if found.key.public_id == credentials.client_id:
            return found
        refusal = refusals.INVALID_KEY
    raise errors.InvalidClientError(f"The key was refused: {refusal.code}.")


@sensitive_variables()
def verify_key(text: str, headers: Any, counts_as_use: bool = True) -> VerifiedKey:
    """Return the key that ``text`` is. Raise ``Refused`` unless it is active."""
    if not token.looks_like_key(text, app_settings.PREFIX):
        raise Refused(refusals.MALFORMED_KEY)
    access = verify(text, AddressedRequest(headers), counts_as_use=counts_as_use, exchange=True)
    return VerifiedKey(_row(text), access)


@sensitive_variables()
def revoke_key(text: str) -> bool:
    """Revoke the key that ``text`` is. Return ``False`` if ``text`` does not look like a key.

    Any client may revoke a key that it can present in full: the key is its own client secret.
    Raise ``Undecided`` if the key cannot be checked right now.
    """
    if not token.looks_like_key(text, app_settings.PREFIX):
        return False
    try:
        verify(text, counts_as_use=False, exchange=True)
    except Refused as refused:
        check_decided(refused)
        if refused.refusal.code not in _MAY_COME_ALIVE:
            return True  # RFC 7009 section 2.2: there is nothing to revoke
    lifecycle.revoke(_row(text), reason=gettext("Revoked over OAuth."))
    return True


def _row(text: str) -> AnyKey:
    """Return the row of the verified key ``text``."""
    _, kind, public_id, _ = text.split("_")
    model = KEY_MODELS[kind]
    keys: Any = model._default_manager.select_related(model.OWNER)
    key: AnyKey = keys.get(public_id=public_id)
    return key
