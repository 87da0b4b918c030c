"""Exchange the identity token of a CI job, pod or cloud for access tokens, without a login."""

import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx

from .auth import BearerAuth
from .client import OAuth2Error, ask, printable
from .discovery import discover
from .errors import LoginError, NotLoggedIn
from .session import Site, make_http

_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LEEWAY: Final = 30  # seconds before its expiry at which a token is replaced
_MOST: Final = 16 * 1024  # characters of an identity token

#: The path of the identity token in a pod, if its manifest mounts it there.
FILE: Final = Path("/var/run/secrets/tokens/id-token")


class Workload:
    """Access tokens of a workload. ``BearerAuth`` and ``WorkloadAuth`` take it like a session.

    ``key`` is the ID of the project key; the site finds it without. ``audience`` is the URL that
    the identity token must name: by default the site's. ``find`` returns an identity token; by
    default, ``ambient_identity`` does.
    """

    def __init__(
        self,
        site: Site,
        *,
        key: str = "",
        audience: str = "",
        find: Callable[[], str] | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self.site = site
        self._key = key
        audience = audience or site.server
        self._find = find or (lambda: ambient_identity(site.name, audience))
        self._http = http or make_http(timeout=30)
        self._lock = threading.Lock()
        self._token, self._ends = "", 0.0

    def close(self) -> None:
        """Close the connections to the server. ``contextlib.closing`` calls it."""
        self._http.close()

    def token(self) -> str:
        """Return a valid access token. Exchange the identity token if necessary.

        Raise ``LoginError``.
        """
        with self._lock:
            if not self._token or time.monotonic() > self._ends:
                self._exchange()
            return self._token

    def refreshed(self, used: str) -> str:
        """Return another access token than ``used``. Raise ``NotLoggedIn`` if it is not granted."""
        with self._lock:
            if self._token == used:
                self._exchange()
            return self._token

    def _exchange(self) -> None:
        form = {"grant_type": _GRANT, "assertion": self._find()}
        endpoints = discover(self._http, self.site.server)
        if self._key:
            form["client_id"] = self._key
        if self.site.scopes:
            form["scope"] = " ".join(self.site.scopes)
        try:
            answer = ask(self._http, endpoints.token, form)
        except OAuth2Error as error:
            why = printable(str(error.description or error.error)).rstrip(".")
            raise NotLoggedIn(f"{self.site.server} refused this workload: {why}.") from None
        token = answer.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise LoginError(f"{self.site.server} did not return an access token.")
        self._token = token
        self._ends = time.monotonic() + _lifetime(answer) - _LEEWAY


class WorkloadAuth(BearerAuth):
    """Authenticate httpx requests of a workload: ``httpx.get(…, auth=WorkloadAuth(server))``.

    Exchanges the workload's identity token when needed, and again before the access token
    expires. Requests to other sites are sent without a token. Raises ``LoginError``.
    """

    def __init__(
        self, server: str, *, key: str = "", audience: str = "", name: str = "apikeys"
    ) -> None:
        super().__init__(Workload(Site(server, "", name=name), key=key, audience=audience))


def ambient_identity(name: str, audience: str) -> str:
    """Return the identity token of this workload for ``audience``. Raise ``LoginError``.

    Looks into the environment variables ``NAME_ID_TOKEN`` and ``NAME_ID_TOKEN_FILE``, into
    ``FILE``, and then asks GitHub Actions, GitLab CI, Google Cloud, Buildkite or CircleCI.
    """
    prefix = name.upper().replace("-", "_")
    if text := os.environ.get(f"{prefix}_ID_TOKEN", "").strip():
        return _checked(text, f"{prefix}_ID_TOKEN")
    path = os.environ.get(f"{prefix}_ID_TOKEN_FILE", "")
    if path or FILE.exists():
        return _checked(_read(Path(path or FILE)), str(path or FILE))
    from id import IdentityError, detect_credential

    try:
        found = detect_credential(audience)
    except IdentityError as error:
        why = printable(str(error))
        raise LoginError(f"The identity of this job cannot be read: {why}") from None
    if found is None:
        raise LoginError(
            f"No workload identity was found here. Set {prefix}_ID_TOKEN, or let this job request "
            "one (GitHub Actions: permissions: id-token: write)."
        )
    return _checked(found, "the identity of this job")


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            return file.read(_MOST + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise LoginError(f"{path} cannot be read: {why}.") from None


def _checked(text: str, source: str) -> str:
    if len(text) > _MOST or not re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", text, re.ASCII):
        raise LoginError(f"The value of {source} is not an identity token.")
    return text


def _lifetime(answer: dict[str, Any]) -> float:
    try:
        return max(float(answer.get("expires_in", 300)), _LEEWAY + 1.0)
    except (TypeError, ValueError):
        return 300.0
