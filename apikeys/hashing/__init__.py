"""Hash the secret of a key in two ways.

root
    Argon2id, computed once when the key is created. It needs no server secret, so it survives
    the loss of all peppers. It also protects weak secrets.
digest
    HMAC-SHA-256 under a pepper. Requests check it, in microseconds.

The parsing of keys is in ``apikeys.token``.
"""

import hashlib
import hmac
from functools import lru_cache
from typing import Final, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from django.views.decorators.debug import sensitive_variables

from ..conf import app_settings

#: The variables of this module that contain a secret.
SENSITIVE: Final = ("secret", "pepper")

_BLOCK: Final = 64  # bytes that SHA-256 reads at a time

_argon2 = PasswordHasher()


class Digest(NamedTuple):
    """A digest (64 hexadecimal characters) and the ID of its pepper."""

    value: str
    pepper_id: str


@lru_cache(maxsize=64)
def pepper_id(pepper: bytes) -> str:
    """Return the ID of a pepper: 8 hexadecimal characters that reveal nothing about it."""
    return hmac.new(pepper, b"apikeys.pepper.id", hashlib.sha256).hexdigest()[:8]


@lru_cache(maxsize=64)
def _keyed(pepper: bytes) -> "tuple[hashlib._Hash, hashlib._Hash]":
    """Return the inner and the outer SHA-256 of an HMAC, which have read its key.

    Only what follows depends on the secret (RFC 2104 section 4). To copy these takes a third of
    the time that it takes to copy an object of ``hmac``.
    """
    key = hashlib.sha256(pepper).digest() if len(pepper) > _BLOCK else pepper
    key = key.ljust(_BLOCK, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in key) for pad in (0x36, 0x5C))
    return hashlib.sha256(inner), hashlib.sha256(outer)


def _hmac(secret: str, pepper: bytes) -> str:
    """HMAC-SHA-256, as ``hmac.digest`` computes it. Its callers hide ``SENSITIVE``."""
    inner, outer = _keyed(pepper)
    inner, outer = inner.copy(), outer.copy()
    inner.update(secret.encode())
    outer.update(inner.digest())
    return outer.hexdigest()


@sensitive_variables(*SENSITIVE)
def make_digest(secret: str) -> Digest:
    """Return the digest of ``secret`` under the current pepper."""
    pepper = app_settings.PEPPERS[0]
    return Digest(_hmac(secret, pepper), pepper_id(pepper))


@sensitive_variables(*SENSITIVE)
def digests(secret: str) -> list[str]:
    """Return the digest of ``secret`` under each known pepper, the current one first."""
    return [_hmac(secret, pepper) for pepper in app_settings.PEPPERS]


@sensitive_variables(*SENSITIVE)
def check_digest(secret: str, stored: str, stored_pepper_id: str) -> bool | None:
    """Return whether ``secret`` has this digest, in constant time.

    Return ``None`` if the pepper of the digest is no longer known.
    """
    return check_unhidden(secret, stored, stored_pepper_id)


def check_unhidden(secret: str, stored: str, stored_pepper_id: str) -> bool | None:
    """Check like ``check_digest``. The caller must hide ``SENSITIVE`` from error reports."""
    for pepper in app_settings.PEPPERS:
        if pepper_id(pepper) == stored_pepper_id:
            return hmac.compare_digest(_hmac(secret, pepper), stored)
    return None


def current_pepper_id() -> str:
    """Return the ID of the current pepper."""
    return pepper_id(app_settings.PEPPERS[0])


@sensitive_variables("secret")
def make_root(secret: str) -> str:
    """Return the Argon2id hash of ``secret``, with parameters and salt.

    Takes tens of milliseconds.
    """
    return _argon2.hash(secret)


@sensitive_variables("secret")
def check_root(secret: str, root: str) -> bool:
    """Return whether ``secret`` has this Argon2id hash. Takes tens of milliseconds."""
    try:
        return _argon2.verify(root, secret)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):  # wrong or damaged
        return False
