"""Sign requests with a private key of this machine (RFC 9421). Needs ``apikeys[signatures]``."""

import secrets
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any, Final

import httpx

from .errors import LoginError
from .store import Store

try:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        SECP256R1,
        EllipticCurvePrivateKey,
        generate_private_key,
    )
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
        load_pem_private_key,
    )
    from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms
except ImportError:
    raise LoginError(
        'To sign requests, install more packages: pip install "apikeys[cli,signatures]".'
    ) from None

__all__ = ["SignatureAuth"]

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey

#: Functions that generate a private key, by algorithm.
KINDS: Final[dict[str, Callable[[], PrivateKey]]] = {
    "ed25519": Ed25519PrivateKey.generate,
    "p256": lambda: generate_private_key(SECP256R1()),
}


class SignatureAuth(httpx.Auth):
    """Sign httpx requests with the private key of the project key ``key_id``: ``auth=…``.

    ``private_key`` is PEM (PKCS #8, RFC 5208) without a password. Raises ``ValueError`` if it is
    neither Ed25519 nor P-256.
    """

    requires_request_body = True

    def __init__(self, key_id: str, private_key: str | bytes | PrivateKey) -> None:
        if isinstance(private_key, str | bytes):
            private_key = load(private_key)
        self._key_id = key_id
        self._signer = HTTPMessageSigner(
            signature_algorithm=_algorithm(private_key),
            key_resolver=MappingKeyResolver(public_keys={}, private_keys={key_id: private_key}),
        )

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.pop("Content-Digest", None)  # left by an earlier attempt
        if request.headers.pop("Transfer-Encoding", None):  # WSGI servers need the length
            request.headers["Content-Length"] = str(len(request.content))
        covered = ["@method", "@target-uri"]
        if "Content-Type" in request.headers:
            covered.append("content-type")
        self._signer.sign(
            SimpleNamespace(method=request.method, url=str(request.url), headers=request.headers),
            key_id=self._key_id,
            nonce=secrets.token_urlsafe(16),
            label="sig1",
            covered_component_ids=covered,
            body=request.content,
        )
        yield request


def load(pem: str | bytes) -> PrivateKey:
    """Parse a private key in PEM. Raise ``ValueError`` unless it is Ed25519 or P-256."""
    given = pem.encode() if isinstance(pem, str) else pem
    try:
        key: Any = load_pem_private_key(given, password=None)
    except (TypeError, ValueError):  # TypeError: the key has a password
        raise ValueError("The private key must be in PEM format without a password.") from None
    _algorithm(key)
    loaded: PrivateKey = key
    return loaded


def _algorithm(key: Any) -> Any:
    if isinstance(key, Ed25519PrivateKey):
        return algorithms.ED25519
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return algorithms.ECDSA_P256_SHA256
    raise ValueError("The private key must be Ed25519 or ECDSA P-256.")


class Identity:
    """The private key of this machine for a site, and the ID of its project key."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def make(self, kind: str) -> str:
        """Create and store a private key; return the public key in PEM.

        Raise ``LoginError`` if a private key exists.
        """
        if self._store.load() is not None:
            raise LoginError("A private key already exists. To replace it, run: key forget")
        private_key = KINDS[kind]()
        text = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._store.save({"private_key": text.decode("ascii")})
        return self.public_key

    @property
    def public_key(self) -> str:
        key = self._load(self._record()).public_key()
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    @property
    def id(self) -> str | None:
        return self._record().get("id")

    def use(self, key_id: str) -> None:
        """Store the ID of the project key that has the public key."""
        self._store.save(self._record() | {"id": key_id})

    def delete(self) -> None:
        self._store.delete()

    def auth(self) -> SignatureAuth:
        record = self._record()
        if "id" not in record:
            raise LoginError(
                "The ID of your project key is not set. Create a project key with your public key, "
                "then run: key use ID"
            )
        return SignatureAuth(record["id"], self._load(record))

    def _load(self, record: dict[str, Any]) -> PrivateKey:
        try:
            return load(record["private_key"])
        except (TypeError, ValueError, AttributeError):
            raise LoginError(
                "The stored private key is damaged. Run: key forget, then: key new"
            ) from None

    @property
    def where(self) -> str:
        return self._store.where

    def _record(self) -> dict[str, Any]:
        record = self._store.load()
        if record is None:
            raise LoginError("No private key is stored here. Create one with: key new")
        return record
