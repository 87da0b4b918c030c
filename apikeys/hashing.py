"""How a secret is stored: a root that needs no server secret, and a fast digest.

root
    Argon2id, computed once, at minting. It survives the loss of every pepper and
    makes weak secrets safe at rest.
digest
    HMAC-SHA-256 under a pepper: what a request checks, in microseconds.
"""

import hashlib
import hmac
from functools import lru_cache
from typing import NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from django.views.decorators.debug import sensitive_variables

from .conf import app_settings

_argon2 = PasswordHasher()


class Digest(NamedTuple):
    """A digest (64 hexadecimal characters) and the id of the pepper it was made under."""

    value: str
    pepper_id: str


@lru_cache(maxsize=64)
def pepper_id(pepper: bytes) -> str:
    """A name for a pepper that tells nothing about it: 8 hexadecimal characters."""
    return hmac.new(pepper, b"apikeys.pepper.id", hashlib.sha256).hexdigest()[:8]


@lru_cache(maxsize=64)
def _keyed(pepper: bytes) -> hmac.HMAC:
    return hmac.new(pepper, digestmod=hashlib.sha256)


def _hmac(secret: str, pepper: bytes) -> str:
    # A copy of one that has its key is the better half of the work saved. Its callers say
    # which variables are sensitive, and that holds here as well.
    digest = _keyed(pepper).copy()
    digest.update(secret.encode())
    return digest.hexdigest()


@sensitive_variables("secret", "pepper")
def make_digest(secret: str) -> Digest:
    """The digest of ``secret`` under the current pepper."""
    pepper = app_settings.PEPPERS[0]
    return Digest(_hmac(secret, pepper), pepper_id(pepper))


@sensitive_variables("secret", "pepper")
def digests(secret: str) -> list[str]:
    """The digest of ``secret`` under each known pepper, the current one's first."""
    return [_hmac(secret, pepper) for pepper in app_settings.PEPPERS]


@sensitive_variables("secret", "pepper")
def check_digest(secret: str, stored: str, stored_pepper_id: str) -> bool | None:
    """Whether ``secret`` has this digest; ``None`` if its pepper is gone. Constant time."""
    for pepper in app_settings.PEPPERS:
        if pepper_id(pepper) == stored_pepper_id:
            return hmac.compare_digest(_hmac(secret, pepper), stored)
    return None


def current_pepper_id() -> str:
    return pepper_id(app_settings.PEPPERS[0])


@sensitive_variables("secret")
def make_root(secret: str) -> str:
    """The Argon2id hash of ``secret`` with its parameters and salt. Tens of milliseconds."""
    return _argon2.hash(secret)


@sensitive_variables("secret")
def check_root(secret: str, root: str) -> bool:
    """Whether ``secret`` has this Argon2id hash. Tens of milliseconds."""
    try:
        return _argon2.verify(root, secret)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):  # or damaged
        return False
