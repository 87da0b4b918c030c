"""Log in to a site: get, refresh and revoke its tokens."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from authlib.common.security import generate_token

from . import own_client
from .browser import open_page
from .client import Client, OAuth2Error, ask, printable, refused, why
from .device import Device
from .discovery import Endpoints, discover, secure
from .errors import LoginError, NotLoggedIn, NotStored
from .loopback import Loopback
from .store import Record, Store

if TYPE_CHECKING:
    from .signing import Identity

_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_OF_LOGIN = "urn:ietf:params:oauth:token-type:refresh_token"
_LEEWAY = 30  # a token counts as expired this many seconds before its expiry
_PATIENCE = 300  # seconds to complete a login in the browser


@dataclass(frozen=True)
class Site:
    """A site, and the public OAuth client of your program there.

    Raises ``LoginError`` if ``server`` is not an https URL.
    """

    #: The origin, such as ``https://api.example.com``.
    server: str
    client_id: str
    scopes: Sequence[str] = ()
    #: The program's name, used for its folder and its keyring entry.
    name: str = "apikeys"

    def __post_init__(self) -> None:
        url = httpx.URL(secure(self.server))
        object.__setattr__(self, "server", str(url.copy_with(path="/", query=None)).rstrip("/"))

    def owns(self, url: httpx.URL) -> bool:
        """Return whether ``url`` has the site's origin, so that the token may be sent there."""
        own = httpx.URL(self.server)
        return (url.scheme, url.host, url.port) == (own.scheme, own.host, own.port)


@dataclass(frozen=True)
class Given:
    """A token that the user provides. Raises ``LoginError`` if it cannot be sent."""

    text: str = field(repr=False)
    #: The place that it was read from, such as ``ACME_TOKEN``. Shown in messages.
    source: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9\-._~+/]+=*", self.text):
            raise LoginError(f"The value of {self.source} is not a token.")


class Session:
    """A login at a site.

    Several processes can share it. Only one of them uses each refresh token. Each ``profile``
    is another login. ``given`` is a token from elsewhere, which is used as it is.
    """

    def __init__(
        self,
        site: Site,
        *,
        folder: Path | None = None,
        http: httpx.Client | None = None,
        profile: str = "",
        given: "Given | None" = None,
    ) -> None:
        self.site = site
        self._profile = f" ({profile})" if profile else ""
        self.store = Store(site.name, f"{site.client_id} at {site.server}{self._profile}", folder)
        self._given = given
        self._folder = folder
        self._http = http or make_http(timeout=30)

    def close(self) -> None:
        """Close the connections to the server. ``contextlib.closing`` calls it."""
        self._http.close()

    @property
    def is_given(self) -> bool:
        """Whether the token comes from elsewhere, so that no login is needed."""
        return self._given is not None

    # Logging in

    def log_in(
        self,
        show: Callable[[str], None],
        *,
        scopes: Sequence[str] = (),
        browse: Callable[[str], Any] | None = open_page,
        as_client: bool = False,
    ) -> None:
        """Log in with the browser of this machine (RFC 8252).

        ``show`` gets the URL; ``browse`` opens it. If that returns a process, the login ends
        with it. With ``as_client``, register a client of this machine, and log the browser's
        login out again. The client gets its tokens without a browser. Raise ``LoginError``.
        """
        endpoints, scopes = self._prepare(scopes, as_client)
        if endpoints.authorization is None:
            raise LoginError(f"{self.site.server} does not support browser logins. Try --device.")
        with Loopback() as loopback:
            client = self._client(scopes, redirect_uri=loopback.redirect_uri)
            verifier, state = generate_token(64), generate_token(32)
            url, _ = client.create_authorization_url(
                endpoints.authorization, state=state, code_verifier=verifier
            )
            show(url)
            opened = browse(url) if browse is not None else None
            process = opened if isinstance(opened, subprocess.Popen) else None
            answer = loopback.wait(state, _PATIENCE, process)
        if process is not None:
            process.wait()  # it still has the terminal
        if endpoints.names_issuer and answer.get("iss") != endpoints.issuer:
            # RFC 9207 section 2.4
            raise LoginError("The response came from another server, so you are not logged in.")
        if "code" not in answer:
            why = answer.get("error_description") or answer.get("error") or "no reason was given"
            raise LoginError(f"The login was refused: {printable(why)}.")
        try:
            tokens = client.fetch(
                endpoints.token,
                grant_type="authorization_code",
                code=answer["code"],
                code_verifier=verifier,
            )
        except OAuth2Error as error:
            raise refused(error) from None
        self._keep(tokens, endpoints, as_client)

    def log_in_by_device(
        self,
        show: Callable[[str, str], None],
        *,
        scopes: Sequence[str] = (),
        sleep: Callable[[float], None] = time.sleep,
        as_client: bool = False,
    ) -> None:
        """Log in with a browser on any device (RFC 8628).

        ``show`` gets the URL and the code to enter there. ``as_client`` is that of ``log_in``.
        Raise ``LoginError``.
        """
        endpoints, scopes = self._prepare(scopes, as_client)
        if endpoints.device_authorization is None:
            raise LoginError(f"{self.site.server} does not support device logins.")
        form = {"client_id": self.site.client_id, "scope": self._scope(scopes) or ""}
        try:
            device = Device(ask(self._http, endpoints.device_authorization, form))
        except OAuth2Error as error:
            raise refused(error) from None
        show(device.url, device.user_code)
        tokens = device.poll(self._client(()), endpoints.token, sleep)
        self._keep(tokens, endpoints, as_client)

    def _prepare(self, scopes: Sequence[str], as_client: bool) -> tuple[Endpoints, Sequence[str]]:
        """Return the endpoints, and the scopes to request (empty for the site's default)."""
        self._refuse_given()
        self._check_store()
        endpoints = discover(self._http, self.site.server)
        if as_client:
            scopes = own_client.scopes(list(scopes or self.site.scopes), endpoints)
        return endpoints, scopes

    def log_out(self) -> None:
        """Revoke the tokens (RFC 7009) and delete them from this machine.

        Delete the client of this machine, if the login registered one (RFC 7592). Raise
        ``NotLoggedIn`` without a login. Raise ``LoginError`` if the site did not revoke them: they
        are deleted here, but stay active until they expire.
        """
        self._refuse_given()
        with self.store.lock:
            record = self._record()
            try:
                self._revoke(record)
            except LoginError as error:
                raise LoginError(
                    f"The tokens were deleted here but were not revoked: {error} Revoke them in "
                    f"your settings on {self.site.server}."
                ) from None
            finally:
                self.store.delete()

    def _revoke(self, record: Record) -> None:
        if own_client.is_one(record):
            own_client.unregister(self._http, record)
        elif url := record.get("revocation_endpoint"):
            hint = "refresh_token" if record.get("refresh_token") else "access_token"
            self._client(()).revoke(secure(url), record[hint], hint)

    # Signing

    @property
    def identity(self) -> "Identity":
        """The private key for this site. Raises ``LoginError`` without ``apikeys[signatures]``."""
        from .signing import Identity

        name = f"signing key at {self.site.server}{self._profile}"
        return Identity(
            Store(self.site.name, name, self._folder, holds="private_key", what="signing keys")
        )

    # Tokens

    def token(self) -> str:
        """Return a valid access token. Refresh it if necessary. Raise ``NotLoggedIn``."""
        if self._given is not None:
            return self._given.text
        record = self._record()
        if _lives(record):
            return str(record["access_token"])
        return self.refreshed(record["access_token"])

    def refreshed(self, used: str) -> str:
        """Return a newer access token than ``used``. Raise ``NotLoggedIn`` if it is not granted."""
        if self._given is not None:
            raise NotLoggedIn(f"{self.site.server} refused the token in {self._given.source}.")
        with self.store.lock:
            record = self._record()
            if record["access_token"] != used and _lives(record):
                return str(record["access_token"])  # another process was faster
            if own_client.is_one(record):
                record |= _timed(own_client.token(self._http, record))
                with suppress(NotStored):  # the client gets another one
                    self.store.save(record)
                return str(record["access_token"])
            if not record.get("refresh_token") or not record.get("token_endpoint"):
                raise NotLoggedIn("The log-in has expired. Log in again.")
            url = secure(record["token_endpoint"])
            self.store.check()  # or the only refresh token would be used up
            try:
                tokens = self._client(()).refresh(url, record["refresh_token"])
            except OAuth2Error as error:
                if error.error == "invalid_grant":
                    self.store.delete()
                raise NotLoggedIn(f"Your login has expired ({why(error)}). Log in again.") from None
            record |= {"refresh_token": record["refresh_token"]} | _timed(tokens)
            self._save(record)
            return str(record["access_token"])

    def agent_token(
        self, seconds: int, *, scopes: Sequence[str] = (), projects: Sequence[str] = ()
    ) -> str:
        """Return a new token for an agent. It ends with the login. Raise ``LoginError``.

        ``scopes`` and ``projects`` (slugs) default to those of the login.
        """
        self._refuse_given()
        with self.store.lock:  # nobody uses the refresh token up meanwhile
            record = self._record()
            if not record.get("refresh_token") or not record.get("token_endpoint"):
                raise LoginError("This login cannot issue tokens. Log in again without --client.")
            form: dict[str, str | list[str]] = {
                "grant_type": _EXCHANGE,
                "client_id": self.site.client_id,
                "subject_token": record["refresh_token"],
                "subject_token_type": _OF_LOGIN,
                "expires_in": str(seconds),
            }
            if scopes:
                form["scope"] = " ".join(scopes)
            if projects:
                form["project"] = list(projects)
            try:
                tokens = ask(self._http, secure(record["token_endpoint"]), form)
            except OAuth2Error as error:
                raise LoginError(f"The token was refused: {why(error)}.") from None
        token = tokens.get("access_token")
        if not isinstance(token, str) or not re.fullmatch(r"[A-Za-z0-9\-._~+/]+=*", token):
            raise LoginError(f"{self.site.server} did not return a usable token.")
        return token

    def _refuse_given(self) -> None:
        if self._given is not None:
            source = self._given.source
            raise LoginError(f"{source} is set, so its token is used. Unset it to log in or out.")

    def _record(self) -> Record:
        record = self.store.load()
        if record is None:
            raise NotLoggedIn(f"You are not logged in to {self.site.server}. Log in first.")
        return record

    def _keep(self, token: dict[str, Any], endpoints: Endpoints, as_client: bool) -> None:
        record = _timed(token) | {
            "issuer": endpoints.issuer,
            "token_endpoint": endpoints.token,
            "revocation_endpoint": endpoints.revocation,
        }
        if as_client:
            record = self._registered(record, endpoints)
        before: Record | None = None
        with self._revoking(record), self.store.lock:
            with suppress(LoginError):  # it cannot be read, so it is replaced
                before = self.store.load()
            self.store.save(record)
        if before is not None and own_client.is_one(before):
            try:
                self._revoke(before)
            except LoginError as error:
                raise LoginError(
                    f"You are logged in, but the client of your earlier login was not deleted: "
                    f"{error} Delete it in your settings on {self.site.server}."
                ) from None

    def _registered(self, login: Record, endpoints: Endpoints) -> Record:
        """Register a client of this machine with a login, then revoke the login."""
        try:
            record = own_client.register(self._http, endpoints, login, self.site.name)
        except LoginError:
            with suppress(LoginError):
                self._revoke(login)
            raise
        try:
            self._revoke(login)
            return record | _timed(own_client.token(self._http, record))
        except LoginError:
            with suppress(LoginError):
                self._revoke(record)
            raise

    def _save(self, record: Record) -> None:
        with self._revoking(record):
            self.store.save(record)

    @contextmanager
    def _revoking(self, record: Record) -> Iterator[None]:
        """Revoke tokens that cannot be stored, because they could not be revoked later."""
        try:
            yield
        except NotStored as error:
            try:
                self._revoke(record)
            except LoginError:
                raise LoginError(
                    f"{error} The new tokens could not be revoked. Revoke them in your settings "
                    f"on {self.site.server}."
                ) from None
            raise LoginError(f"{error} The new tokens were revoked. Log in again.") from None

    def _check_store(self) -> None:
        """Raise ``NotStored`` if tokens could not be stored, before the site issues any."""
        with self.store.lock:
            self.store.check()

    def _scope(self, scopes: Sequence[str]) -> str | None:
        return " ".join(scopes or self.site.scopes) or None

    def _client(self, scopes: Sequence[str], **kwargs: Any) -> Client:
        return Client(self._http, self.site.client_id, scope=self._scope(scopes), **kwargs)


def make_http(**kwargs: Any) -> httpx.Client:
    """Return an httpx client with the proxies and certificates of the environment.

    Raise ``LoginError`` if they cannot be used.
    """
    try:
        return httpx.Client(follow_redirects=False, **kwargs)
    except (OSError, ValueError, httpx.InvalidURL) as error:
        raise LoginError(
            f"The proxy or certificate settings of this environment cannot be used: {error}."
        ) from None


def _timed(token: dict[str, Any]) -> Record:
    try:
        lifetime = int(token.get("expires_in", 300))
    except (TypeError, ValueError, OverflowError):
        lifetime = 300
    return token | {"expires_at": int(time.time()) + lifetime}


def _lives(record: Record) -> bool:
    try:
        return float(record.get("expires_at", 0)) - _LEEWAY > time.time()
    except (TypeError, ValueError):
        return False
