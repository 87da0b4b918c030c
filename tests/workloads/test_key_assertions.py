"""``private_key_jwt`` (RFC 7523 section 2.2): a key that holds a public key gets a token."""

import hmac
import json
import time
import uuid
from base64 import urlsafe_b64encode as b64encode

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwk, jwt
from joserfc.jws import JWSRegistry

from apikeys import lifecycle
from tests.factories import bearer
from tests.signing import ed25519_key, p256_key, pem

_ALL = JWSRegistry(algorithms=["Ed25519", "ES256"])
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ENDPOINT = "http://testserver/o/token/"


class Holder:
    def __init__(self, project, private_key):
        self.key = lifecycle.mint(
            project=project, name="s", scopes=["payments:read"], public_key=pem(private_key)
        ).key
        text = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.jwk = jwk.import_key(text, "EC" if "ec" in type(private_key).__module__ else "OKP")

    def sign(self, key=None, header=None, **changes):
        now, name = int(time.time()), self.key.public_id
        claims = {"iss": name, "sub": name, "aud": ENDPOINT, "iat": now, "exp": now + 60}
        claims |= {"jti": str(uuid.uuid4())} | changes
        algorithm = "Ed25519" if self.jwk.key_type == "OKP" else "ES256"
        header = {"alg": algorithm} | (header or {})
        return jwt.encode(header, claims, key or self.jwk, registry=_ALL)

    def post(self, client, assertion, **changes):
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": TYPE,
            "client_assertion": assertion,
        }
        return client.post("/o/token/", form | changes)


@pytest.fixture(params=[ed25519_key, p256_key], ids=["ed25519", "p256"])
def holder(project, request):
    return Holder(project, request.param())


def refused(response, code):
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.json()["error_description"].endswith(f"refused: {code}.")


def test_key_gets_a_token_that_ends_with_it(client, holder):
    response = holder.post(client, holder.sign(), client_id=holder.key.public_id)
    assert response.status_code == 200, response.json()
    headers = bearer(response.json()["access_token"])
    assert client.get("/api/token/", headers=headers).json()["key"] == holder.key.public_id
    lifecycle.revoke(holder.key)
    assert client.get("/api/token/", headers=headers).status_code == 401
    refused(holder.post(client, holder.sign()), "revoked_key")


def test_assertion_works_once(client, holder):
    text = holder.sign()
    assert holder.post(client, text).status_code == 200
    refused(holder.post(client, text), "replayed_token")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aud": "https://other.example"}, "wrong_audience"),
        ({"sub": "0" * 16}, "invalid_key"),
        ({"exp": 1}, "expired_token"),
        ({"exp": 2**40}, "token_lives_too_long"),
        ({"iss": "0" * 16}, "invalid_token_signature"),
    ],
)
def test_wrong_claims_are_refused(client, holder, changes, code):
    refused(holder.post(client, holder.sign(**changes)), code)


def test_another_private_key_is_refused(client, holder, project):
    other = Holder(project, ed25519_key() if holder.jwk.key_type == "OKP" else p256_key())
    refused(holder.post(client, holder.sign(other.jwk)), "invalid_token_signature")


def test_public_key_is_never_a_shared_secret(client, holder):
    """With HS256, everybody who knows the public key could sign."""
    head = b64encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()).rstrip(b"=")
    message = head + b"." + holder.sign().split(".")[1].encode()
    secret = holder.key.public_key.encode()
    signature = b64encode(hmac.digest(secret, message, "sha256")).rstrip(b"=")
    refused(holder.post(client, (message + b"." + signature).decode()), "invalid_token_signature")


def test_key_with_a_secret_cannot_sign(client, project, holder):
    with_secret = lifecycle.mint(project=project, name="s", scopes=["payments:read"]).key
    text = holder.sign(iss=with_secret.public_id, sub=with_secret.public_id)
    refused(holder.post(client, text), "invalid_token_signature")


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "e30.e30.e30"])
def test_malformed_assertion_is_refused(client, holder, text):
    assert holder.post(client, text).status_code == 401


def test_other_type_of_assertion_is_refused(client, holder):
    response = holder.post(client, holder.sign(), client_assertion_type="urn:x")
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


def test_id_of_another_key_is_refused(client, holder):
    refused(holder.post(client, holder.sign(), client_id="0" * 16), "invalid_key")


def test_second_method_of_authentication_is_refused(client, holder):
    response = holder.post(client, holder.sign(), client_id="x", client_secret="y")
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


def test_metadata_announces_it(client, db):
    data = client.get("/.well-known/oauth-authorization-server").json()
    assert "private_key_jwt" in data["token_endpoint_auth_methods_supported"]
    assert "ES256" in data["token_endpoint_auth_signing_alg_values_supported"]
    assert "urn:ietf:params:oauth:grant-type:jwt-bearer" in data["grant_types_supported"]


def test_nothing_is_revealed_about_a_key_before_its_signature_is_checked(client, holder, project):
    forger = Holder(project, ed25519_key())
    for changes in ({"exp": 1}, {"aud": "https://other.example"}, {}):
        said = {
            holder.post(client, forger.sign(iss=name, sub=name, **changes)).json()[
                "error_description"
            ]
            for name in (holder.key.public_id, "0" * 16)
        }
        assert len(said) == 1, said


def test_other_audiences_beside_this_site_are_refused(client, holder):
    refused(holder.post(client, holder.sign(aud=[ENDPOINT, "https://b.example"])), "wrong_audience")


def test_host_header_does_not_choose_the_audience(client, holder, settings):
    settings.ALLOWED_HOSTS = [".acme.example"]
    settings.APIKEYS = {**settings.APIKEYS, "SITE_URL": "https://api.acme.example"}
    form = {"grant_type": "client_credentials", "client_assertion_type": TYPE}
    for audience, status in (
        ("http://evil.acme.example/o/token/", 401),
        ("https://api.acme.example/o/token/", 200),
    ):
        form["client_assertion"] = holder.sign(aud=audience)
        response = client.post("/o/token/", form, HTTP_HOST="evil.acme.example")
        assert response.status_code == status, response.json()


def test_keys_in_memory_are_bounded(holder):
    from apikeys.issuers import assertions, keys

    before = len(keys._sources)
    for number in range(3):
        assertions._issuer.cache_clear()
        issuer = assertions._issuer(f"{number:016}", holder.key.public_key)
        keys.find(issuer, None, "ES256" if holder.jwk.key_type == "EC" else "Ed25519")
    assert len(keys._sources) == before
