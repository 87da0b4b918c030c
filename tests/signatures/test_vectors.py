"""The examples of RFC 9421, appendix B, with the two accepted algorithms."""

import base64

import pytest
from django.utils.datastructures import CaseInsensitiveMapping
from http_message_signatures import ContentDigest

from apikeys import refusals
from apikeys.refusals import Refused
from apikeys.signatures import public_keys, verification
from apikeys.signatures.messages import Message

# Section B.1.3
P256 = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----
"""
# Section B.1.4
ED25519 = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----
"""
# Section B.2
BODY = b'{"hello": "world"}'
HEADERS = {
    "Host": "example.com",
    "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
    "Content-Type": "application/json",
    "Content-Digest": "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BN"
    "NyealdVLvRwEmTHWXvJwew==:",
    "Content-Length": "18",
}
# Section B.2.6
SIGNED = HEADERS | {
    "Signature-Input": 'sig-b26=("date" "@method" "@path" "@authority" "content-type" '
    '"content-length");created=1618884473;keyid="test-key-ed25519"',
    "Signature": "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w"
    "6vuQv5lIp5WPpBKRCw==:",
}


def message(**changes):
    headers = CaseInsensitiveMapping(SIGNED | changes)
    return Message("POST", "https://example.com/foo?param=Value&Pet=dog", headers, lambda: BODY)


def test_the_ed25519_example_is_verified():
    key = public_keys.parse(ED25519)
    result = verification.check_signature(message(), "test-key-ed25519", key)
    assert result.covered_components['"@path"'] == "/foo"
    with pytest.raises(Refused) as refused:
        verification.check_signature(message(Date="now"), "test-key-ed25519", key)
    assert refused.value.refusal is refusals.INVALID_SIGNATURE


def test_the_example_digest_is_verified():
    ContentDigest.verify(HEADERS["Content-Digest"], BODY)


def test_the_p256_example_is_verified():
    """Section B.2.4 signs a response, so this test builds the signature base itself."""
    base = (
        '"@status": 200\n'
        '"content-type": application/json\n'
        '"content-digest": sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX6'
        "9wWdXymyU0rjJuahq4l5aGgfLQ==:\n"
        '"content-length": 23\n'
        '"@signature-params": ("@status" "content-type" "content-digest" "content-length")'
        ';created=1618884473;keyid="test-key-ecc-p256"'
    )
    signature = base64.b64decode(
        "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw=="
    )
    key = public_keys.parse(P256)
    verification.algorithm_of(key)(public_key=key).verify(signature, base.encode())


@pytest.mark.parametrize("key", [ED25519, P256])
def test_the_example_keys_are_stored_unchanged(key):
    assert public_keys.to_pem(public_keys.parse(key)) == key


def test_the_example_covers_too_few_components(db):
    with pytest.raises(Refused) as refused:
        verification.verify(message(), None)
    assert refused.value.refusal is refusals.INCOMPLETE_SIGNATURE
