"""Register a confidential client of this machine, which gets its tokens without a browser.

The client belongs to the user (RFC 7591). Its tokens come from client credentials (RFC 6749
section 4.4), and it deletes its own registration (RFC 7592).
"""

import platform
from typing import Any, Final
from urllib.parse import quote

import httpx

from .client import OAuth2Error, ask, delete, printable, send_json, usable, why
from .discovery import Endpoints, secure
from .errors import LoginError, NotLoggedIn, Unavailable
from .store import Record

#: The scope of a token that may register clients: the default of django-oauth-toolkit.
REGISTRATION_SCOPE: Final = "oauth2_provider:registration"
_GRANT: Final = "client_credentials"
_OPENID: Final = "openid"  # identifies a user to a client, and is nothing that a client can do
_URI: Final = "registration_client_uri"
_KEPT: Final = ("client_id", "client_secret", _URI, "registration_access_token")


def is_one(record: Record) -> bool:
    """Return whether ``record`` holds a client of this machine, not a login."""
    return bool(record.get("client_secret"))


def scopes(names: list[str], endpoints: Endpoints) -> list[str]:
    """Return the scopes to request in the browser, to register a client with ``names``.

    Without names, return the scopes that the site offers every client. Raise ``LoginError`` if the
    site registers no clients.
    """
    if endpoints.registration is None:
        raise LoginError(
            f"{endpoints.issuer} does not let programs register clients. Log in without --client."
        )
    names = names or [name for name in endpoints.scopes if name != _OPENID]
    return [*dict.fromkeys([*names, REGISTRATION_SCOPE])]


def register(http: httpx.Client, endpoints: Endpoints, tokens: dict[str, Any], name: str) -> Record:
    """Register a client with the access token of a login. Return what to store of it.

    Raise ``LoginError``. ``name`` is the name of the program.
    """
    if REGISTRATION_SCOPE not in str(tokens.get("scope") or REGISTRATION_SCOPE).split():
        raise LoginError(
            "The login does not allow registering a client. Log in again, and allow everything "
            "that is listed."
        )
    metadata = {
        "client_name": _name(name),
        "grant_types": [_GRANT],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    try:
        answer = send_json(http, endpoints.registration or "", metadata, tokens["access_token"])
    except OAuth2Error as error:
        raise LoginError(f"The client was not registered: {why(error)}.") from None
    record = {key: answer.get(key) for key in _KEPT}
    if not all(map(usable, record.values())):
        raise LoginError(f"{endpoints.issuer} did not return a usable client.")
    secure(record[_URI])
    return record | {"token_endpoint": endpoints.token, "issuer": endpoints.issuer}


def token(http: httpx.Client, record: Record) -> dict[str, Any]:
    """Return the response with a new access token of the client. Raise ``NotLoggedIn``."""
    try:
        return _token(http, record)
    except OAuth2Error as error:
        raise NotLoggedIn(
            f"The client of this machine has no access any more ({why(error)}). Log in again."
        ) from None


def unregister(http: httpx.Client, record: Record) -> None:
    """Delete the client with its tokens (RFC 7592 section 2.3). Raise ``LoginError``."""
    response = delete(http, secure(record.get(_URI)), str(record.get("registration_access_token")))
    if response.is_success or response.status_code == 404:
        return
    # The registration token is unknown if the user has deleted the client, but may also have
    # expired.
    if response.status_code != 401 or _works(http, record):
        raise Unavailable(f"the site returned the status {response.status_code}.")


def _works(http: httpx.Client, record: Record) -> bool:
    try:
        return bool(_token(http, record))
    except OAuth2Error:
        return False


def _token(http: httpx.Client, record: Record) -> dict[str, Any]:
    url = secure(record.get("token_endpoint"))
    # RFC 6749 section 2.3.1: both are form-encoded first.
    auth = (quote(record["client_id"], safe=""), quote(record["client_secret"], safe=""))
    answer = ask(http, url, {"grant_type": _GRANT}, auth=auth)
    if not usable(answer.get("access_token")):
        raise Unavailable(f"{record.get('issuer')} did not return a usable access_token.")
    return {key: answer[key] for key in ("access_token", "expires_in", "scope") if key in answer}


def _name(program: str) -> str:
    return printable(f"{program} on {platform.node() or 'a computer'}")[:100]
