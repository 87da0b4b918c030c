"""Logged in at a site: get tokens, keep them fresh, give them back."""

import time
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from authlib.common.security import generate_token

from .client import Client, OAuth2Error
from .discovery import Endpoints, discover, secure
from .errors import LoginError, NotLoggedIn
from .loopback import Loopback
from .store import Record, Store

if TYPE_CHECKING:
    from .signing import Identity

_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_LEEWAY = 30  # seconds before its end at which a token counts as over
_PATIENCE = 300  # seconds for somebody to log in with a browser


@dataclass(frozen=True)
class Site:
    """A site with this API and the public client that is registered there for programs."""

    #: ``https://api.example.com``, without a path.
    server: str
    client_id: str
    scopes: Sequence[str] = ()
    #: The program's name: what its folder and its entry in the keyring are called.
    name: str = "apikeys"

    def __post_init__(self) -> None:
        url = httpx.URL(secure(self.server))
        object.__setattr__(self, "server", str(url.copy_with(path="/", query=None)).rstrip("/"))

    def owns(self, url: httpx.URL) -> bool:
        """Whether a token of this site may be sent to ``url``: to its own origin only."""
        own = httpx.URL(self.server)
        return (url.scheme, url.host, url.port) == (own.scheme, own.host, own.port)


class Session:
    """Somebody who is logged in to a site.

    Several processes may share one: a refresh token is used once, by one of them.
    """

    def __init__(
        self, site: Site, *, folder: Path | None = None, http: httpx.Client | None = None
    ) -> None:
        self.site = site
        self.store = Store(site.name, f"{site.client_id} at {site.server}", folder)
        self._folder = folder
        self._http = http or httpx.Client(timeout=30, follow_redirects=False)

    def close(self) -> None:
        """Close the connections to the server. ``contextlib.closing`` does it as well."""
        self._http.close()

    # Logging in

    def log_in(
        self,
        show: Callable[[str], None],
        *,
        scopes: Sequence[str] = (),
        browse: Callable[[str], Any] | None = webbrowser.open,
    ) -> None:
        """By the browser of this machine (RFC 8252). ``show`` is told the URL to open."""
        endpoints = discover(self._http, self.site.server)
        if endpoints.authorization is None:
            raise LoginError(f"{self.site.server} has no log-in by browser. Try --device.")
        with Loopback() as loopback:
            client = self._client(scopes, redirect_uri=loopback.redirect_uri)
            verifier, state = generate_token(64), generate_token(32)
            url, _ = client.create_authorization_url(
                endpoints.authorization, state=state, code_verifier=verifier
            )
            show(url)
            if browse is not None:
                browse(url)
            answer = loopback.wait(state, _PATIENCE)
        if endpoints.names_issuer and answer.get("iss") != endpoints.issuer:
            # RFC 9207 section 2.4
            raise LoginError("The answer came from another server. Nothing was kept.")
        if "code" not in answer:
            why = answer.get("error_description") or answer.get("error") or "no reason was given"
            raise LoginError(f"The log-in was refused: {why}.")
        self._keep(
            self._asked(
                lambda: client.fetch(
                    endpoints.token,
                    grant_type="authorization_code",
                    code=answer["code"],
                    code_verifier=verifier,
                )
            ),
            endpoints,
        )

    def log_in_by_device(
        self,
        show: Callable[[str, str], None],
        *,
        scopes: Sequence[str] = (),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """By a browser anywhere (RFC 8628). ``show`` is told the URL and the code."""
        endpoints = discover(self._http, self.site.server)
        if endpoints.device_authorization is None:
            raise LoginError(f"{self.site.server} has no log-in by device.")
        form = {"client_id": self.site.client_id, "scope": self._scope(scopes) or ""}
        response = self._post(endpoints.device_authorization, form)
        show(response["verification_uri"], response["user_code"])
        client = self._client(scopes)
        interval = int(response.get("interval", 5))
        end = time.monotonic() + int(response["expires_in"])
        while time.monotonic() < end:
            sleep(interval)
            try:
                token = client.fetch(
                    endpoints.token, grant_type=_DEVICE, device_code=response["device_code"]
                )
            except OAuth2Error as error:
                if error.error == "slow_down":
                    interval += 5
                elif error.error != "authorization_pending":
                    raise LoginError(f"The log-in was refused: {_why(error)}.") from None
            except httpx.TransportError:
                interval *= 2  # section 3.5
            else:
                return self._keep(token, endpoints)
        raise LoginError("The code has expired. Try again.")

    def log_out(self) -> None:
        """Revoke the tokens (RFC 7009) and forget them.

        Raises ``NotLoggedIn``, and ``LoginError`` if the site was not reached: they are
        forgotten here, and live on there until they expire.
        """
        with self.store.lock:
            record = self._record()
            self.store.delete()
        if not record.get("revocation_endpoint"):
            return
        hint = "refresh_token" if record.get("refresh_token") else "access_token"
        try:
            response = self._client(()).revoke(record["revocation_endpoint"], record[hint], hint)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise LoginError(
                f"The tokens are forgotten here, but {self.site.server} did not revoke them: "
                f"{error}. Revoke them in your settings there."
            ) from None

    # Signing

    @property
    def identity(self) -> "Identity":
        """The private key for this site. Raises ``LoginError`` without ``apikeys[signatures]``."""
        from .signing import Identity

        name = f"signing key at {self.site.server}"
        return Identity(
            Store(self.site.name, name, self._folder, holds="private_key", what="keys for signing")
        )

    # Tokens

    def token(self) -> str:
        """A valid access token, refreshed if need be. Raises ``NotLoggedIn``."""
        record = self._record()
        if _lives(record):
            return str(record["access_token"])
        return self.refreshed(record["access_token"])

    def refreshed(self, used: str) -> str:
        """Another access token than ``used``. Raises ``NotLoggedIn`` if there is none to be had."""
        with self.store.lock:
            record = self._record()
            if record["access_token"] != used and _lives(record):
                return str(record["access_token"])  # another process was faster
            if not record.get("refresh_token"):
                raise NotLoggedIn("The log-in has expired. Log in again.")
            secure(record["token_endpoint"])
            try:
                token = self._client(()).refresh(record["token_endpoint"], record["refresh_token"])
            except OAuth2Error as error:
                if error.error == "invalid_grant":
                    self.store.delete()
                raise NotLoggedIn(f"The log-in is over ({_why(error)}). Log in again.") from None
            except httpx.HTTPError as error:
                raise LoginError(f"{self.site.server} cannot be reached: {error}") from None
            record |= {"refresh_token": record["refresh_token"]} | _timed(token)
            self.store.save(record)
            return str(record["access_token"])

    def _record(self) -> Record:
        record = self.store.load()
        if record is None:
            raise NotLoggedIn(f"You are not logged in at {self.site.server}. Log in first.")
        return record

    def _keep(self, token: dict[str, Any], endpoints: Endpoints) -> None:
        with self.store.lock:
            self.store.save(
                _timed(token)
                | {
                    "issuer": endpoints.issuer,
                    "token_endpoint": endpoints.token,
                    "revocation_endpoint": endpoints.revocation,
                }
            )

    def _scope(self, scopes: Sequence[str]) -> str | None:
        return " ".join(scopes or self.site.scopes) or None

    def _client(self, scopes: Sequence[str], **kwargs: Any) -> Client:
        return Client(self._http, self.site.client_id, scope=self._scope(scopes), **kwargs)

    def _asked(self, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return ask()
        except OAuth2Error as error:
            raise LoginError(f"The log-in was refused: {_why(error)}.") from None
        except (httpx.HTTPError, ValueError) as error:
            raise LoginError(f"{self.site.server} cannot be reached: {error}") from None

    def _post(self, url: str, form: dict[str, str]) -> dict[str, Any]:
        def ask() -> dict[str, Any]:
            response = self._http.post(url, data=form)
            data: dict[str, Any] = response.json()
            if "error" in data:
                raise OAuth2Error(error=data["error"], description=data.get("error_description"))
            return data

        return self._asked(ask)


def _timed(token: dict[str, Any]) -> Record:
    token.setdefault("expires_at", int(time.time()) + int(token.get("expires_in", 300)))
    return token


def _lives(record: Record) -> bool:
    return float(record.get("expires_at", 0)) - _LEEWAY > time.time()


def _why(error: OAuth2Error) -> str:
    return str(error.description or error.error)
