"""Sign requests with `requests`, without the code of this project."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from http_message_signatures import ContentDigest, HTTPMessageSigner, MappingKeyResolver, algorithms

from tests.factories import mint_key

COVERED = ("@method", "@target-uri")


def pem(private_key: Any) -> str:
    spki = PublicFormat.SubjectPublicKeyInfo
    return private_key.public_key().public_bytes(Encoding.PEM, spki).decode()


def ed25519_key() -> Any:
    return ed25519.Ed25519PrivateKey.generate()


def p256_key() -> Any:
    return ec.generate_private_key(ec.SECP256R1())


class _AsGiven(ContentDigest):
    """Keep the given digest, so that tests can sign an invalid one."""

    @classmethod
    def prepare(cls, *args: Any, **kwargs: Any) -> None:
        pass


@dataclass
class Caller:
    key_id: str
    private_key: Any = field(repr=False)

    @property
    def algorithm(self) -> Any:
        is_ed25519 = isinstance(self.private_key, ed25519.Ed25519PrivateKey)
        return algorithms.ED25519 if is_ed25519 else algorithms.ECDSA_P256_SHA256

    def sign(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        covered: Any = COVERED,
        age: float = 0,
        **options: Any,
    ) -> requests.PreparedRequest:
        request = requests.Request(method, url, data=body, headers=headers).prepare()
        options = {"nonce": secrets.token_urlsafe(16), "label": "sig1"} | options
        signer = HTTPMessageSigner(
            signature_algorithm=self.algorithm,
            key_resolver=MappingKeyResolver(
                public_keys={}, private_keys={self.key_id: self.private_key}
            ),
        )
        if "Content-Digest" in request.headers:
            signer.content_digest_class = _AsGiven
        signer.sign(
            request,
            key_id=self.key_id,
            created=datetime.now(UTC) - timedelta(seconds=age),
            covered_component_ids=covered,
            body=body,
            **options,
        )
        return request


def caller(project: Any = None, private_key: Any = None, **kwargs: Any) -> Caller:
    """Create a key and return a caller that signs with it."""
    private_key = private_key or ed25519_key()
    minted = mint_key(project, public_key=pem(private_key), **kwargs)
    return Caller(minted.key.public_id, private_key)


def send(client: Any, request: requests.PreparedRequest, **extra: Any) -> Any:
    """Send a signed request with Django's test client."""
    headers = {n: v for n, v in request.headers.items() if n != "Content-Length"}
    kind = headers.pop("Content-Type", "application/octet-stream" if request.body else "")
    body: Any = request.body or b""
    return client.generic(
        request.method, request.path_url, body, content_type=kind, headers=headers, **extra
    )
