"""Keep the public keys of issuers in memory, and refresh them in the background.

The keys are in this process only. Anyone who can write to a shared cache could otherwise put
own keys there, and so forge every identity.

A thread fetches. A request waits for it only if it needs keys that are not here, for at most
``WAIT`` seconds, never in an event loop, and not at all after a fetch that failed.
"""

import asyncio
import logging
import os
import threading
import time
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from .. import refusals
from ..fetching import FetchError
from ..refusals import Refused
from .algorithms import PublicKey, public_keys
from .entries import OPENID, Issuer
from .fetching import TIMEOUT, fetch

logger = logging.getLogger("apikeys")

REFRESH: Final = 600  # seconds after which keys are fetched again, in the background
STALE: Final = 24 * 3600  # seconds for which keys are used while the issuer does not answer
RETRY: Final = 30  # minimum seconds between two fetches
WAIT: Final = 2.0  # maximum seconds that a request waits
STUCK: Final = max(RETRY, 4 * TIMEOUT)  # seconds after which another fetch takes over
_MOST_KEYS: Final = 100

_NEVER: Final = float("-inf")


class _Source:
    """The keys of one issuer."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._lock = threading.Lock()
        self._keys: tuple[PublicKey, ...] = ()
        self._tried = _NEVER
        self._fetched = _NEVER
        self._failed = False
        #: Set while no fetch is running.
        self._idle = threading.Event()
        self._idle.set()
        if issuer.jwks is not None:
            self._keys = public_keys(issuer.jwks["keys"])

    def find(self, kid: str | None, algorithm: str) -> PublicKey:
        """Return the key. Raise ``Refused``."""
        is_pinned = self._issuer.jwks is not None
        if not is_pinned and time.monotonic() - self._fetched > REFRESH:
            self._refresh()
        if (key := self._choose(kid, algorithm)) is None and not is_pinned:
            self._refresh()
            self._wait()
            key = self._choose(kid, algorithm)
        if key is not None:
            return key
        if not self._current():
            raise Refused(refusals.ISSUER_UNAVAILABLE)
        raise Refused(refusals.UNKNOWN_SIGNING_KEY)

    def _current(self) -> tuple[PublicKey, ...]:
        is_usable = self._issuer.jwks is not None or time.monotonic() - self._fetched <= STALE
        return self._keys if is_usable else ()

    def _choose(self, kid: str | None, algorithm: str) -> PublicKey | None:
        fitting = [each for each in self._current() if algorithm in each.algorithms]
        if kid is not None:
            return next((each for each in fitting if each.kid == kid), None)
        # A token does not have to name its key if the issuer has only one that fits.
        return fitting[0] if len(fitting) == 1 else None

    def _refresh(self) -> None:
        """Start a fetch, unless one is running or was tried less than ``RETRY`` seconds ago."""
        with self._lock:
            now = time.monotonic()
            if now - self._tried < (RETRY if self._idle.is_set() else STUCK):
                return
            self._tried = now
            self._idle.clear()
        try:
            threading.Thread(
                target=self._run, args=(now,), name="apikeys-issuer-keys", daemon=True
            ).start()
        except RuntimeError:  # no thread can be started now
            self._idle.set()

    def _wait(self) -> None:
        left = self._tried + WAIT - time.monotonic()
        if left > 0 and not self._failed and not _in_event_loop():
            self._idle.wait(left)

    def _run(self, started: float) -> None:
        found: tuple[PublicKey, ...] | None
        try:
            found = _fetch_keys(self._issuer)
        except Exception as error:  # noqa: BLE001 - whatever the issuer sends
            found = None
            if not self._failed:
                logger.warning(
                    "The keys of the issuer %s could not be fetched: %s", self._issuer.url, error
                )
        with self._lock:
            if self._tried != started:  # another fetch took over
                return
            self._failed = found is None
            if found is not None:
                self._keys, self._fetched = found, time.monotonic()
            self._idle.set()


def _fetch_keys(issuer: Issuer) -> tuple[PublicKey, ...]:
    url = issuer.jwks_url or _discover(issuer)
    jwks = fetch(url, issuer.networks).get("keys")
    if not isinstance(jwks, list) or len(jwks) > _MOST_KEYS:
        raise FetchError("The document is not a JWK Set.")
    keys = public_keys(jwks)
    if not keys:
        raise FetchError("The JWK Set has no usable key.")
    return keys


def _discover(issuer: Issuer) -> str:
    """Return the URL of the keys in the issuer's metadata."""
    metadata = fetch(metadata_url(issuer), issuer.networks)
    # OpenID Connect Discovery section 4.3, RFC 8414 section 3.3: the metadata of another issuer
    # would name the keys of another issuer.
    if metadata.get("issuer") != issuer.url:
        raise FetchError("The metadata is of another issuer.")
    url = metadata.get("jwks_uri")
    if not isinstance(url, str):
        raise FetchError("The metadata has no jwks_uri.")
    return url


def metadata_url(issuer: Issuer) -> str:
    """Return the URL of the issuer's metadata."""
    if issuer.discovery == OPENID:  # OpenID Connect Discovery section 4: at the end of the path
        return issuer.url.rstrip("/") + "/.well-known/openid-configuration"
    parts = urlsplit(issuer.url)  # RFC 8414 section 3.1: before the path
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{path}"


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


#: The sources of issuers whose keys are fetched. There are as many as the settings name.
_sources: dict[Issuer, _Source] = {}
#: The sources of issuers whose keys are pinned. Each project key with a public key is one.
_pinned = lru_cache(maxsize=1024)(_Source)
_lock = threading.Lock()


def find(issuer: Issuer, kid: str | None, algorithm: str) -> PublicKey:
    """Return the key of ``issuer`` with the ID ``kid``, which may be used with ``algorithm``.

    Raise ``Refused``: ``unknown_signing_key``, or ``issuer_unavailable`` without any keys.
    """
    if issuer.jwks is not None:
        return _pinned(issuer).find(kid, algorithm)
    if (source := _sources.get(issuer)) is None:
        with _lock:
            source = _sources.setdefault(issuer, _Source(issuer))
    return source.find(kid, algorithm)


def forget() -> None:
    """Drop all keys, so that they are fetched again. For tests and changed settings."""
    with _lock:
        _sources.clear()


def _after_fork() -> None:
    # The thread of a fetch does not exist in the child, and its lock may be held.
    global _lock
    _lock = threading.Lock()
    _sources.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
