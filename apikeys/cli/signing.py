"""Sign requests with a private key that stays here (RFC 9421). Needs ``apikeys[signatures]``."""

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
    raise LoginError('Signing takes more: pip install "apikeys[cli,signatures]".') from None

__all__ = ["SignatureAuth"]

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey

#: How a key of each kind is made.
KINDS: Final[dict[str, Callable[[], PrivateKey]]] = {
    "ed25519": Ed25519PrivateKey.generate,
    "p256": lambda: generate_private_key(SECP256R1()),
}


class SignatureAuth(httpx.Auth):
    """``auth=`` of httpx: every request is signed with the private key of ``key_id``.

    ``private_key`` is in PEM (PKCS #8, RFC 5208) without a password. Raises ``ValueError`` if
    it is neither Ed25519 nor P-256.
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
        request.headers.pop("Content-Digest", None)  # of an earlier try
        if request.headers.pop("Transfer-Encoding", None):  # it is all here, and WSGI wants that
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
    """Raises ``ValueError`` for what is no private key of a kind that is taken."""
    given = pem.encode() if isinstance(pem, str) else pem
    try:
        key: Any = load_pem_private_key(given, password=None)
    except (TypeError, ValueError):  # TypeError: it has a password
        raise ValueError("This is no private key in PEM without a password.") from None
    _algorithm(key)
    loaded: PrivateKey = key
    return loaded


def _algorithm(key: Any) -> Any:
    if isinstance(key, Ed25519PrivateKey):
        return algorithms.ED25519
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return algorithms.ECDSA_P256_SHA256
    raise ValueError("Keys are Ed25519 or ECDSA P-256; this is another kind.")


class Identity:
    """The private key that a program has for a site, and the id that the site gave it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def make(self, kind: str) -> str:
        """Make a private key and keep it; returns the public key in PEM."""
        if self._store.load() is not None:
            raise LoginError("There is a private key already. Forget it first, or use it.")
        private_key = KINDS[kind]()
        text = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._store.save({"private_key": text.decode("ascii")})
        return self.public_key

    @property
    def public_key(self) -> str:
        key = load(self._record()["private_key"]).public_key()
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    @property
    def id(self) -> str | None:
        return self._record().get("id")

    def use(self, key_id: str) -> None:
        """Remember the id that the site knows the public key by."""
        self._store.save(self._record() | {"id": key_id})

    def forget(self) -> None:
        self._store.delete()

    def auth(self) -> SignatureAuth:
        record = self._record()
        if "id" not in record:
            raise LoginError(
                "The site has to know your public key: register it, and tell its id: key use ID."
            )
        return SignatureAuth(record["id"], record["private_key"])

    @property
    def where(self) -> str:
        return self._store.where

    def _record(self) -> dict[str, Any]:
        record = self._store.load()
        if record is None:
            raise LoginError("There is no private key here. Make one first.")
        return record
