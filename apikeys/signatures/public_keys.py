"""Parse the public keys that a project key can have instead of a secret: Ed25519 and P-256.

Reads no setting and no database. Needs the extra ``signatures``.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePublicNumbers as PublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey

#: Maximum length of a public key, in characters.
MAX_LENGTH: Final = 4096

# Points of small order: with such a public key, one signature is valid for every message.
# The y coordinate of each, in all encodings, without the sign of x (RFC 8032 section 5.1.2).
_SMALL_ORDER: Final = {
    bytes.fromhex(encoded)
    for encoded in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
}
_PRIVATE: Final = re.compile(r"PRIVATE KEY", re.IGNORECASE)


class PublicKeyError(ValueError):
    """The text is not an accepted public key. The message never repeats the text."""


class NotAPublicKey(PublicKeyError):  # noqa: N818 - the name describes the text
    """The text is not a public key in PEM or JWK."""


class UnsupportedPublicKey(PublicKeyError):  # noqa: N818
    """The public key is neither Ed25519 nor P-256."""


class PrivateKeyGiven(PublicKeyError):  # noqa: N818
    """The text is a private key. It must be replaced, because others may have seen it."""


def parse(given: str | Mapping[str, Any]) -> PublicKey:
    """Parse PEM (SubjectPublicKeyInfo, RFC 7468 section 13) or a JWK (RFC 7517, text or mapping).

    Raise ``NotAPublicKey``, ``UnsupportedPublicKey`` or ``PrivateKeyGiven``.
    """
    if isinstance(given, str):
        text = given.strip()
        if _PRIVATE.search(text):
            raise PrivateKeyGiven
        if len(text) > MAX_LENGTH:
            raise NotAPublicKey
        if not text.startswith("{"):
            return _checked(_from_pem(text))
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):
            raise NotAPublicKey from None
    if not isinstance(given, Mapping):
        raise NotAPublicKey
    return _checked(_from_jwk(given))


def to_pem(key: PublicKey) -> str:
    """Return the canonical PEM text, which is stored."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


@lru_cache(maxsize=1024)
def from_stored(pem: str) -> PublicKey:
    """Parse a text that ``to_pem`` returned."""
    return _from_pem(pem)


def _from_pem(text: str) -> PublicKey:
    if not text.startswith("-----BEGIN PUBLIC KEY-----"):
        raise NotAPublicKey
    try:
        key = load_pem_public_key(text.encode("ascii"))
    except UnsupportedAlgorithm:
        raise UnsupportedPublicKey from None
    except ValueError:
        raise NotAPublicKey from None
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    raise UnsupportedPublicKey


def _from_jwk(jwk: Mapping[str, Any]) -> PublicKey:
    # RFC 7518 sections 6.2.2, 6.3.2 and 6.4, RFC 8037 section 2
    if "d" in jwk or "k" in jwk:
        raise PrivateKeyGiven
    if not isinstance(jwk.get("kty"), str):
        raise NotAPublicKey
    try:
        match jwk["kty"], jwk.get("crv"):
            case "OKP", "Ed25519":
                return Ed25519PublicKey.from_public_bytes(_decoded(jwk.get("x")))
            case "EC", "P-256":
                x, y = (int.from_bytes(_decoded(jwk.get(name))) for name in ("x", "y"))
                return PublicNumbers(x, y, SECP256R1()).public_key()
    except ValueError:
        raise NotAPublicKey from None
    raise UnsupportedPublicKey


def _decoded(member: Any) -> bytes:
    """Decode 32 octets in base64url (RFC 7515 section 2). Raise ``ValueError``."""
    if not isinstance(member, str) or not re.fullmatch(r"[A-Za-z0-9_-]{43}", member):
        raise ValueError
    try:
        return base64.urlsafe_b64decode(member + "=")
    except binascii.Error:
        raise ValueError from None


def _checked(key: PublicKey) -> PublicKey:
    if isinstance(key, Ed25519PublicKey):
        raw = bytearray(key.public_bytes_raw())
        raw[31] &= 0x7F
        if bytes(raw) in _SMALL_ORDER:
            raise NotAPublicKey
    return key
