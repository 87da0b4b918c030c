"""The command signs requests and never prints its private key."""

import asyncio
import json
import os
import stat
import subprocess
import sys

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from apikeys.cli import LoginError, Session, Site
from apikeys.cli.signing import SignatureAuth
from tests.documents import ROOT
from tests.factories import mint_key
from tests.signing import caller, ed25519_key, p256_key, pem

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]


def private_pem(key, encryption=None):
    how = encryption or NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how).decode()


class TestTheClass:
    @pytest.fixture
    def client(self, live_server, someone):
        auth = SignatureAuth(someone.key_id, private_pem(someone.private_key))
        with httpx.Client(base_url=live_server.url, auth=auth, timeout=60) as client:
            yield client

    def test_every_request_gets_a_new_signature(self, client):
        for _ in range(2):
            answer = client.get("/echo/", params={"q": "ä b&c", "x": ""})
            assert (answer.status_code, answer.json()["who"]) == (200, "project:analytical-engine")
        answer = client.post("/echo/", json={"amount": 1})
        assert answer.json()["data"] == {"amount": 1}
        assert client.put("/echo/", data={"a": "1"}).json()["data"] == {"a": "1"}
        kind = {"Content-Type": "application/json"}
        answer = client.post("/echo/", content=iter([b'{"a"', b": 1}"]), headers=kind)
        assert answer.json()["data"] == {"a": 1}

    def test_the_content_type_is_signed(self, client):
        (request,) = (client.build_request("POST", "/echo/", json={}),)
        next(client.auth.sync_auth_flow(request))
        assert '"content-type" "content-digest"' in request.headers["Signature-Input"]

    def test_async_requests_are_signed(self, live_server, worker):
        auth = SignatureAuth(worker.key_id, worker.private_key)

        async def ask():
            async with httpx.AsyncClient(auth=auth, timeout=60) as client:
                return await client.post(f"{live_server.url}/echo/", json={})

        assert asyncio.run(ask()).status_code == 200

    @pytest.mark.parametrize(
        "given",
        [
            "",
            "no key",
            pem(ed25519_key()),
            private_pem(ed25519_key(), BestAvailableEncryption(b"secret")),
            private_pem(rsa.generate_private_key(65537, 2048)),
            private_pem(ec.generate_private_key(ec.SECP384R1())),
        ],
    )
    def test_an_invalid_private_key_is_refused(self, given):
        with pytest.raises(ValueError, match=r"\w+") as caught:
            SignatureAuth("0" * 16, given)
        assert not given or given not in str(caught.value)


@pytest.fixture
def environment(tmp_path, live_server):
    return {
        **{k: os.environ[k] for k in ("PATH", "LANG") if k in os.environ},
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "PYTHONPATH": str(ROOT),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        "APIKEYS_SERVER": live_server.url,
        "APIKEYS_CLIENT_ID": "acme-cli",
    }


@pytest.fixture
def run(environment):
    def run(*arguments, code=0):
        done = subprocess.run(
            [sys.executable, "-m", "apikeys.cli", *arguments],
            env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "PRIVATE KEY" not in done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.mark.parametrize("algorithm", ["ed25519", "p256"])
def test_a_registered_key_signs_requests(run, engine, tmp_path, algorithm):
    public = run("key", "new", "--algorithm", algorithm)
    assert run("key", "show") == public
    (file,) = (tmp_path / "data" / "apikeys").glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "ID of your project key is not set" in run("api", "GET", "/api/token/", "--sign", code=1)

    key = mint_key(engine, name="worker-3", public_key=public).key
    run("key", "use", key.public_id)

    facts = json.loads(run("api", "GET", "/api/token/", "--sign"))
    assert (facts["id"], facts["signed"]) == (key.public_id, True)
    echoed = json.loads(run("api", "POST", "/echo/?a=b", "--sign", "-f", "amount=1"))
    assert echoed["data"] == {"amount": "1"}
    assert "is not on" in run("api", "GET", "http://other.example/", "--sign", code=1)

    run("key", "forget")
    assert not file.exists()
    assert "No private key" in run("api", "GET", "/api/token/", "--sign", code=1)


def test_an_existing_key_is_not_replaced(run):
    public = run("key", "new")
    assert "already" in run("key", "new", code=1)
    assert run("key", "show") == public
    run("key", "use", "not an id", code=2)


def test_the_keyring_is_preferred(tmp_path, monkeypatch):
    import keyring
    from keyring.backend import KeyringBackend

    class InMemory(KeyringBackend):
        priority = 1
        kept = {}

        def get_password(self, service, username):
            return self.kept.get((service, username))

        def set_password(self, service, username, password):
            self.kept[service, username] = password

        def delete_password(self, service, username):
            del self.kept[service, username]

    before = keyring.get_keyring()
    keyring.set_keyring(InMemory())
    try:
        identity = Session(Site("http://127.0.0.1:1", "acme-cli"), folder=tmp_path).identity
        identity.make("ed25519")
        assert "PRIVATE KEY" in str(InMemory.kept)
        assert not list(tmp_path.glob("*.json"))
        assert identity.where == "The signing keys are stored in the system's keyring."
        identity.delete()
        assert InMemory.kept == {}
        with pytest.raises(LoginError):
            identity.auth()
    finally:
        keyring.set_keyring(before)


def test_a_key_of_another_site_is_not_used(tmp_path):
    Session(Site("http://127.0.0.1:1", "acme-cli"), folder=tmp_path).identity.make("ed25519")
    other = Session(Site("http://127.0.0.1:2", "acme-cli"), folder=tmp_path).identity
    with pytest.raises(LoginError):
        other.public_key  # noqa: B018


def test_another_library_verifies_the_signature(engine):
    """Verify with the library alone, without the code of this project."""
    from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver

    someone = caller(engine, p256_key())
    request = httpx.Request("POST", "http://localhost/x?y=1", json={})
    next(SignatureAuth(someone.key_id, someone.private_key).sync_auth_flow(request))
    verifier = HTTPMessageVerifier(
        signature_algorithm=someone.algorithm,
        key_resolver=MappingKeyResolver(
            public_keys={someone.key_id: someone.private_key.public_key()}, private_keys={}
        ),
    )
    (result,) = verifier.verify(request, body=request.content)
    assert result.nonce
    assert result.body == request.content
