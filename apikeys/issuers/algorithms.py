"""Choose the signature algorithms of a public key, so that no token can choose another.

Only asymmetric algorithms exist here. ``none`` and the HMAC algorithms are never looked up.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
#: The algorithms by key type and curve (RFC 7518 section 3.1, RFC 8037, RFC 9864).
_FITTING: Final[Mapping[tuple[Any, Any], tuple[str, ...]]] = {
    ("RSA", None): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
}
#: All algorithms that an entry may list.
ASYMMETRIC: Final = tuple(name for names in _FITTING.values() for name in names)
#: The algorithms of an entry that lists none.
DEFAULT: Final = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")

#: The public members of a key. Others are never read, such as ``d`` and ``x5u``.
_MEMBERS: Final = ("kty", "n", "e", "crv", "x", "y")
_RSA_BITS: Final = (2048, 8192)


class PublicKey(NamedTuple):
    """A public key of an issuer, and the only algorithms that may be used with it."""

    kid: str | None
    algorithms: frozenset[str]
    #: A key of joserfc.
    key: Any


def public_key(jwk: Any) -> PublicKey | None:
    """Return the public key of a JWK, or ``None`` if it signs nothing or is too weak."""
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    if not isinstance(jwk, Mapping) or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    kid, kind = jwk.get("kid"), jwk.get("kty")
    if not isinstance(kind, str) or not isinstance(kid, str | None):
        return None
    curve = None if kind == "RSA" else jwk.get("crv")
    fitting = _FITTING.get((kind, curve), ()) if isinstance(curve, str | None) else ()
    algorithms = frozenset(each for each in fitting if jwk.get("alg", each) == each)
    if not algorithms:
        return None
    if kind == "RSA" and 6 * len(str(jwk.get("n"))) < _RSA_BITS[0]:  # joserfc would only warn
        return None
    try:
        key = import_key({name: jwk[name] for name in _MEMBERS if name in jwk})
        public: Any = key.get_op_key("verify")
    except (JoseError, ValueError, TypeError, AttributeError, OverflowError):
        return None
    if kind == "RSA" and not _RSA_BITS[0] <= public.key_size <= _RSA_BITS[1]:
        return None
    return PublicKey(kid, algorithms, key)


def public_keys(jwks: Iterable[Any]) -> tuple[PublicKey, ...]:
    """Return the usable keys among ``jwks``."""
    return tuple(key for each in jwks if (key := public_key(each)) is not None)


def is_signed(algorithm: str, key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Return whether ``key`` signed ``message`` with ``algorithm``, one of its algorithms."""
    from joserfc.jws import JWSRegistry

    if algorithm not in key.algorithms:
        return False
    try:
        return JWSRegistry.algorithms[algorithm].verify(message, signature, key.key)
    except (ValueError, TypeError):
        return False
