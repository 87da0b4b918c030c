"""Send OAuth requests with httpx. Authlib's client builds the URLs and PKCE challenges."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from authlib.oauth2 import OAuth2Error as OAuth2Error
from authlib.oauth2.client import OAuth2Client

from .errors import LoginError, Unavailable

_UNAVAILABLE = ("server_error", "temporarily_unavailable")  # RFC 6749 section 4.1.2.1


class Client(OAuth2Client):
    """A public client (RFC 6749 section 2.1) with PKCE S256 (RFC 7636)."""

    def __init__(self, http: httpx.Client, client_id: str, **kwargs: Any) -> None:
        super().__init__(http, client_id=client_id, code_challenge_method="S256", **kwargs)

    def fetch(self, url: str, **form: str) -> dict[str, Any]:
        """Request tokens. Raise ``OAuth2Error`` if refused, ``Unavailable`` if not answered."""
        if self.redirect_uri:
            form["redirect_uri"] = self.redirect_uri
        tokens = ask(self.session, url, {"client_id": self.client_id, **form})
        for name in ("access_token", "refresh_token"):
            token = tokens.get(name)
            if token is None and name == "refresh_token":
                tokens.pop(name, None)
            elif not usable(token):
                raise Unavailable(f"{_host(url)} did not return a usable {name}.")
        return tokens

    def refresh(self, url: str, refresh_token: str) -> dict[str, Any]:
        """Refresh tokens with the granted scope (RFC 6749 section 6). Raises like ``fetch``."""
        return self.fetch(url, grant_type="refresh_token", refresh_token=refresh_token)

    def revoke(self, url: str, token: str, hint: str) -> None:
        """Revoke a token (RFC 7009). Raise ``Unavailable`` if it may still be active."""
        form = {"client_id": self.client_id, "token": token, "token_type_hint": hint}
        response = _send(self.session, "POST", url, data=form)
        if not response.is_success or "html" in response.headers.get("Content-Type", ""):
            raise _unavailable(response)


def ask(
    http: httpx.Client,
    url: str,
    form: Mapping[str, str | list[str]],
    auth: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Post a form; return the JSON object of the response.

    ``auth`` are the ID and the secret of a confidential client (HTTP Basic). Raise
    ``OAuth2Error`` for an OAuth error. Raise ``Unavailable`` for anything else, such as the page
    of a proxy or the login page of a network: a retry may help.
    """
    return _answer(_send(http, "POST", url, data=dict(form), auth=auth))


def send_json(http: httpx.Client, url: str, data: Mapping[str, Any], token: str) -> dict[str, Any]:
    """Post JSON with an access token; return the JSON object of the response. Raises as ``ask``."""
    return _answer(_send(http, "POST", url, json=dict(data), token=token))


def delete(http: httpx.Client, url: str, token: str) -> httpx.Response:
    """Send DELETE with an access token; return the response. Raise ``Unavailable``."""
    return _send(http, "DELETE", url, token=token)


def _answer(response: httpx.Response) -> dict[str, Any]:
    data = json_object(response)
    error = data.get("error") if data is not None else None
    is_final = response.status_code in (200, 400, 401, 403)
    if isinstance(error, str) and is_final and error not in _UNAVAILABLE:
        description = data.get("error_description") if data is not None else None
        raise OAuth2Error(error=error, description=printable(str(description or error)))
    if data is None or not response.is_success:
        raise _unavailable(response)
    return data


def usable(text: object) -> bool:
    """Return whether ``text`` is a token, a secret or a URL that a header can carry."""
    return isinstance(text, str) and bool(text) and text.isascii() and text.isprintable()


def refused(error: OAuth2Error) -> LoginError:
    """Return the error to raise for a refused login."""
    return LoginError(f"The login was refused: {why(error)}.")


def why(error: OAuth2Error) -> str:
    """Return the reason of ``error``, without a full stop."""
    return str(error.description or error.error).rstrip(".")


def json_object(response: httpx.Response) -> dict[str, Any] | None:
    """Return the JSON object in a response; ``None`` for anything else."""
    try:
        data = response.json()
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def printable(text: str) -> str:
    """Replace characters that could control the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _send(
    http: httpx.Client, method: str, url: str, *, token: str | None = None, **body: Any
) -> httpx.Response:
    headers = {"Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    try:
        return http.request(method, url, headers=headers, **body)
    except httpx.TransportError as error:
        raise Unavailable(f"{_host(url)} cannot be reached: {_reason(error)}.") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise LoginError(f"The request to {_host(url)} failed: {_reason(error)}.") from None


def _unavailable(response: httpx.Response) -> Unavailable:
    host, status = _host(str(response.url)), response.status_code
    if response.is_success:
        why = f"{host} did not return JSON. Does this network need a login?"
    elif response.is_redirect:
        why = f"{host} redirects to another page. Does this network need a login?"
    else:
        why = f"{host} returned the status {status}. Try again in a moment."
    return Unavailable(why, _retry_after(response))


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        then, now = (parsedate_to_datetime(t) for t in (text, response.headers["Date"]))
        return max(0.0, (then - now).total_seconds())
    except (KeyError, TypeError, ValueError):
        return 0.0


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _reason(error: Exception) -> str:
    return printable(str(error) or type(error).__name__).rstrip(".")
