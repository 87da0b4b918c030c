"""GitHub's secret scanning partner program: who signed a message, and what it reports.

https://docs.github.com/code-security/secret-scanning/secret-scanning-partner-program
"""

import base64
import binascii
import json
import logging
import threading
import time
from typing import Any, Final
from urllib.request import Request, urlopen

from .conf import app_settings

logger = logging.getLogger("apikeys")

_KEPT: Final = 3600  # seconds
_RETRY: Final = 60  # seconds between two requests for a key that was not there
_TIMEOUT: Final = 5  # seconds
_MOST: Final = 256 * 1024  # bytes

_lock = threading.Lock()
_keys: dict[str, str] = {}
_fetched: dict[str, float] = {}


class KeysUnavailable(Exception):  # noqa: N818 - a state, rather than an error
    """The public keys cannot be had just now."""


def is_signed(payload: bytes, key_id: str, signature: str) -> bool:
    """Whether ``signature`` (ECDSA P-256 of SHA-256, in base64) is GitHub's of ``payload``.

    Raises ``KeysUnavailable``.
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
    """By its identifier. Fetched once an hour, and for an unknown one once a minute at most."""
    url = app_settings.GITHUB_KEYS_URL
    with _lock:
        age = time.monotonic() - _fetched.get(url, float("-inf"))
        if age > _KEPT or (key_id not in _keys and age > _RETRY):
            try:
                found = _fetch(url)
            except (OSError, ValueError, KeyError, TypeError) as error:
                logger.warning("GitHub's public keys could not be fetched: %s", error)
                raise KeysUnavailable from error
            _keys.clear()
            _keys.update(found)
            _fetched.clear()
            _fetched[url] = time.monotonic()
        return _keys.get(key_id)


def _fetch(url: str) -> dict[str, str]:
    if not url.startswith(("https://", "http://")):
        raise ValueError(url)
    request = Request(url, headers={"Accept": "application/json", "User-Agent": "apikeys"})  # noqa: S310
    with urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310 - checked above
        answer: Any = json.loads(response.read(_MOST))
    return {str(key["key_identifier"]): str(key["key"]) for key in answer["public_keys"]}


def forget_keys() -> None:
    """Fetch them anew at the next message."""
    with _lock:
        _keys.clear()
        _fetched.clear()
