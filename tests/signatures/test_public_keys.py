"""Which public keys are accepted, and the errors for all others."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from apikeys.signatures import public_keys
from tests.signing import ed25519_key, p256_key, pem


def b64(octets):
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def ed25519_jwk(key):
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_key().public_bytes_raw())}


def p256_jwk(key):
    numbers = key.public_key().public_numbers()
    x, y = (b64(n.to_bytes(32)) for n in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "mine", "use": "sig"}


@pytest.mark.parametrize(("make", "jwk"), [(ed25519_key, ed25519_jwk), (p256_key, p256_jwk)])
def test_every_format_is_stored_as_the_same_pem(make, jwk):
    key = make()
    spellings = [
        pem(key),
        pem(key).replace("\n", "\r\n"),
        f"\n {pem(key)}\n",
        jwk(key),
        json.dumps(jwk(key)),
    ]
    assert {public_keys.to_pem(public_keys.parse(each)) for each in spellings} == {pem(key)}
    assert len(pem(key)) < 255


def private(key, encoding=Encoding.PEM, shape=PrivateFormat.PKCS8):
    return key.private_bytes(encoding, shape, NoEncryption()).decode()


@pytest.mark.parametrize(
    "given",
    [
        private(ed25519_key()),
        private(p256_key()),
        private(p256_key(), shape=PrivateFormat.TraditionalOpenSSL),
        private(ed25519_key(), shape=PrivateFormat.OpenSSH),
        pem(ed25519_key()) + private(ed25519_key()),
        private(ed25519_key()) * 50,
        ed25519_jwk(ed25519_key()) | {"d": "secret"},
        json.dumps(p256_jwk(p256_key()) | {"d": "secret"}),
        {"kty": "oct", "k": "secret"},
    ],
)
def test_a_private_key_is_refused(given):
    with pytest.raises(public_keys.PrivateKeyGiven) as caught:
        public_keys.parse(given)
    assert str(caught.value) == ""


@pytest.mark.parametrize(
    "given",
    [
        pem(rsa.generate_private_key(65537, 2048)),
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(ec.generate_private_key(ec.SECP256K1())),
        pem(ed448.Ed448PrivateKey.generate()),
        {"kty": "RSA", "n": "0vx7", "e": "AQAB"},
        p256_jwk(p256_key()) | {"crv": "P-384"},
        ed25519_jwk(ed25519_key()) | {"crv": "X25519"},
        {"kty": "EC"},
    ],
)
def test_an_unsupported_key_is_refused(given):
    with pytest.raises(public_keys.UnsupportedPublicKey):
        public_keys.parse(given)


def of_small_order():
    identity = bytes([1]) + bytes(31)
    order_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
    for raw in (identity, bytes(32), order_8, order_8[:31] + bytes([order_8[31] | 0x80])):
        yield {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}


def test_a_key_of_small_order_is_refused():
    # Without a private key, R = identity and S = 0 is a valid signature for every message.
    identity = ed25519.Ed25519PublicKey.from_public_bytes(bytes([1]) + bytes(31))
    identity.verify(bytes([1]) + bytes(63), b"whatever")
    for given in of_small_order():
        with pytest.raises(public_keys.NotAPublicKey):
            public_keys.parse(given)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "a key",
        "acme_key_abc",
        "{",
        "[]",
        "{}",
        "[" * 5000,
        "\0",
        "ä",
        [],
        None,
        5,
        {"kty": 5},
        {"kty": "OKP", "crv": "Ed25519"},
        {"kty": "OKP", "crv": "Ed25519", "x": "short"},
        {"kty": "OKP", "crv": "Ed25519", "x": 5},
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "A" * 43,
            "y": "A" * 43,
        },  # a point that is not on the curve
        pem(ed25519_key())[:60],
        pem(ed25519_key()).replace("PUBLIC KEY", "CERTIFICATE"),
        pem(ed25519_key()) + " " * 5000 + "x",
        p256_key().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
    ],
    ids=lambda given: f"{given!r:.24}",
)
def test_an_invalid_public_key_is_refused(given):
    with pytest.raises(public_keys.NotAPublicKey):
        public_keys.parse(given)
