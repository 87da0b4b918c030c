"""Verify the signatures of GitHub's secret scanning partner program.

https://docs.github.com/code-security/secret-scanning/secret-scanning-partner-program
"""

import base64
import binascii
import json
import logging
import threading
import time
from http.client import HTTPException
from typing import Any, Final
from urllib.request import Request, urlopen

from ..conf import app_settings

logger = logging.getLogger("apikeys")

_KEPT: Final = 3600  # seconds
_RETRY: Final = 60  # minimum seconds between two fetches because of an unknown key
_RETRY_FAILED: Final = 10  # seconds without a fetch after one that failed
_LONGEST_WAIT: Final = 1  # seconds to wait for the fetch of another request
_TIMEOUT: Final = 5  # seconds
_MOST: Final = 256 * 1024  # bytes

_lock = threading.Lock()
_keys: dict[str, str] = {}
_fetched: dict[str, float] = {}
_failed: dict[str, float] = {}


class KeysUnavailable(Exception):  # noqa: N818 - a state, not an error
    """GitHub's public keys cannot be fetched right now."""


def is_signed(payload: bytes, key_id: str, signature: str) -> bool:
    """Return whether GitHub signed ``payload``.

    ``signature`` is ECDSA P-256 over SHA-256, in base64. Raise ``KeysUnavailable``.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    pem = _public_key(key_id)
    if pem is None:
        return False
    try:
        public_key = load_pem_public_key(pem.encode())
        raw = base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        return False
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        return False
    if not isinstance(public_key.curve, ec.SECP256R1):
        return False
    try:
        public_key.verify(raw, payload, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _public_key(key_id: str) -> str | None:
    """Return the public key ``key_id`` in PEM, or ``None``.

    The keys are fetched once an hour, and once a minute at most for an unknown ID, because
    anyone can send one. Raise ``KeysUnavailable`` during a slow fetch and for a while after a
    failed one, so that no request waits for long.
    """
    url = app_settings.GITHUB_KEYS_URL
    if _age(_fetched, url) <= _KEPT and (pem := _keys.get(key_id)) is not None:
        return pem
    if not _lock.acquire(timeout=_LONGEST_WAIT):
        raise KeysUnavailable
    try:
        age = _age(_fetched, url)
        if age > _KEPT or (key_id not in _keys and age > _RETRY):
            _renew(url)
        return _keys.get(key_id)
    finally:
        _lock.release()


def _age(times: dict[str, float], url: str) -> float:
    return time.monotonic() - times.get(url, float("-inf"))


def _renew(url: str) -> None:
    if _age(_failed, url) < _RETRY_FAILED:
        raise KeysUnavailable
    try:
        found = _fetch(url)
    except (OSError, HTTPException, ValueError, KeyError, TypeError, RecursionError) as error:
        _failed.clear()
        _failed[url] = time.monotonic()
        logger.warning("GitHub's public keys could not be fetched: %s", error)
        raise KeysUnavailable from error
    _keys.clear()
    _keys.update(found)
    _fetched.clear()
    _fetched[url] = time.monotonic()


def _fetch(url: str) -> dict[str, str]:
    if not url.startswith(("https://", "http://")):
        raise ValueError(url)
    request = Request(url, headers={"Accept": "application/json", "User-Agent": "apikeys"})  # noqa: S310
    with urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310 - checked above
        answer: Any = json.loads(response.read(_MOST))
    return {str(key["key_identifier"]): str(key["key"]) for key in answer["public_keys"]}


def forget_keys() -> None:
    """Clear the cached keys, so that the next message fetches them again."""
    with _lock:
        _keys.clear()
        _fetched.clear()
        _failed.clear()
