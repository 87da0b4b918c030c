"""Found keys: revoked by whoever holds them, and by GitHub's signed word."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from apikeys import github, grants, lifecycle, signals
from apikeys.models import AuditEvent
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import (
    MembershipFactory,
    UserFactory,
    mint_key,
    mint_pat,
    of_nobody,
    with_wrong_secret,
)

pytestmark = pytest.mark.django_db


def present(client, body):
    data = body if isinstance(body, str) else json.dumps(body)
    return client.post("/api/leaked/", data, content_type="application/json")


def why(minted):
    with pytest.raises(Refused) as info:
        verify(minted.token)
    return info.value.refusal.code


def test_whoever_holds_a_key_ends_it(client):
    for minted in (mint_pat(), mint_key()):
        answer = present(client, {"token": minted.token})
        assert answer.status_code == 200
        assert answer.json() == {"revoked": [minted.key.public_id], "unknown": 0}
        assert minted.token not in answer.content.decode()
        assert answer["Cache-Control"] == "no-store"
        assert why(minted) == "revoked_key"
        events = AuditEvent.objects.filter(public_id=minted.key.public_id).order_by("pk")
        assert [e.event for e in events] == ["minted", "revoked", "leaked"]
        assert events[2].changes == {"source": "anybody", "revoked": True}
        assert events[2].ip == "127.0.0.1"


def test_a_list(client):
    kept, one, two = mint_pat(), mint_pat(), mint_key()
    wrong = with_wrong_secret(kept.token)
    tokens = [one.token, two.token, f" {one.token}\n", of_nobody(), wrong, "nonsense"]
    answer = present(client, {"tokens": tokens})

    ids = sorted(m.key.public_id for m in (one, two))
    assert answer.json() == {"revoked": ids, "unknown": 3}
    assert verify(kept.token).kind
    for text in tokens:
        assert text.strip()[26:] not in answer.content.decode() or text == "nonsense"


def test_what_it_made_ends_with_it(client):
    ada = MembershipFactory(role="owner").user
    thief = mint_pat(ada, scopes=["keys:write", "payments:read"])
    made = mint_pat(ada, within=grants.for_tokens(ada, verify(thief.token)))
    present(client, {"token": thief.token})

    assert why(made) == "revoked_key"


def test_one_that_ended_before(client):
    minted = mint_pat()
    lifecycle.revoke(minted.key, reason="Mine.")
    answer = present(client, {"token": minted.token})

    assert answer.json() == {"revoked": [minted.key.public_id], "unknown": 0}
    minted.key.refresh_from_db()
    assert minted.key.revoked_reason == "Mine."
    assert not AuditEvent.objects.filter(event="leaked").exists()


@pytest.mark.parametrize(
    "body",
    [
        {}, {"token": 7}, {"token": ["x"]}, {"tokens": "x"}, {"tokens": []}, {"tokens": [7]},
        {"token": "x", "tokens": ["x"]}, {"tokens": ["x"] * 101}, "text", 7, None, "{", '"x"',
        {"tokens": [["x"]]}, {"tokens": [{"a": 1}]},
    ],
)  # fmt: skip
def test_what_is_no_report(client, body):
    answer = present(client, body)
    assert answer.status_code == 400
    assert answer.json()["code"] in ("invalid", "parse_error")
    assert answer.json()["detail"]


def test_a_key_in_a_wrong_body_is_not_echoed(client):
    minted = mint_pat()
    for body in ({"tokne": minted.token}, f'{{"token": {minted.token}}}', {minted.token: 1}):
        assert minted.token[26:] not in present(client, body).content.decode()
    assert client.get("/api/leaked/").status_code == 405


# GitHub


def payload_of(*tokens, url="https://github.com/octo/repo/blob/main/.env"):
    found = [
        {"token": text, "type": "acme_token", "url": url, "source": "content"} for text in tokens
    ]
    return json.dumps(found).encode()


class Signer:
    """Signs as GitHub does, and serves its public keys."""

    def __init__(self):
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.fetched, self.status = 0, 200
        signer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                signer.fetched += 1
                self.send_response(signer.status)
                self.end_headers()
                self.wfile.write(json.dumps(signer.keys()).encode())

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"

    def keys(self):
        form = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        pem = self.private.public_key().public_bytes(*form).decode()
        return {"public_keys": [{"key_identifier": "k1", "key": pem, "is_current": True}]}

    def headers(self, payload, key_id="k1", private=None):
        signature = (private or self.private).sign(payload, ec.ECDSA(SHA256()))
        return {
            "Github-Public-Key-Identifier": key_id,
            "Github-Public-Key-Signature": base64.b64encode(signature).decode(),
        }

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def signer(settings):
    signer = Signer()
    settings.APIKEYS = settings.APIKEYS | {"GITHUB_KEYS_URL": signer.url}
    github.forget_keys()
    yield signer
    github.forget_keys()
    signer.close()


def send(client, payload, headers):
    return client.post(
        "/api/leaked/github/", payload, content_type="application/json", headers=headers
    )


def test_a_report_of_github_s(client, signer):
    minted, false = mint_pat(), of_nobody()
    heard = []

    def hear(key, source, url, **kwargs):
        heard.append((key.public_id, source, url))

    signals.key_leaked.connect(hear)
    try:
        payload = payload_of(minted.token, false)
        answer = send(client, payload, signer.headers(payload))
    finally:
        signals.key_leaked.disconnect(hear)

    def label(text, label):
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {"token_hash": digest, "token_type": "acme_token", "label": label}

    assert answer.status_code == 200
    assert answer.json() == [label(minted.token, "true_positive"), label(false, "false_positive")]
    assert why(minted) == "revoked_key"
    url = "https://github.com/octo/repo/blob/main/.env"
    assert heard == [(minted.key.public_id, "GitHub", url)]
    event = AuditEvent.objects.get(event="leaked")
    assert event.changes == {"source": "GitHub", "url": url, "revoked": True}
    send(client, payload, signer.headers(payload))
    assert signer.fetched == 1


def test_a_site_that_warns_only(client, signer, settings):
    settings.APIKEYS = settings.APIKEYS | {"GITHUB_LEAK_ACTION": "warn"}
    minted = mint_pat()
    payload = payload_of(minted.token)
    answer = send(client, payload, signer.headers(payload))

    assert answer.json()[0]["label"] == "true_positive"
    assert verify(minted.token).kind
    assert AuditEvent.objects.get(event="leaked").changes["revoked"] is False


def test_tampered_messages(client, signer):
    minted = mint_pat()
    payload = payload_of(minted.token)
    right = signer.headers(payload)
    other = ec.generate_private_key(ec.SECP256R1())
    signature = right["Github-Public-Key-Signature"]
    flipped = ("B" if signature[20] == "A" else "A").join([signature[:20], signature[21:]])
    for body, headers in (
        (payload + b" ", right),
        (payload.replace(b"acme_token", b"acme_tokem"), right),
        (payload, right | {"Github-Public-Key-Signature": flipped}),
        (payload, right | {"Github-Public-Key-Signature": ""}),
        (payload, right | {"Github-Public-Key-Signature": "no base64!"}),
        (payload, right | {"Github-Public-Key-Signature": base64.b64encode(b"x").decode()}),
        (payload, right | {"Github-Public-Key-Identifier": "k2"}),
        (payload, {"Github-Public-Key-Signature": signature}),
        (payload, {}),
        (payload, signer.headers(payload, private=other)),
        (payload, signer.headers(b"")),
    ):
        answer = send(client, body, headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature")
        assert minted.token[26:] not in answer.content.decode()
    assert verify(minted.token).kind


def test_a_key_of_another_curve_is_not_taken(client, signer):
    signer.private = ec.generate_private_key(ec.SECP384R1())
    payload = payload_of(mint_pat().token)
    assert send(client, payload, signer.headers(payload)).status_code == 401


@pytest.mark.parametrize("payload", [b"", b"{", b"{}", b"[7]", b'[{"token": 7, "type": "x"}]'])
def test_signed_nonsense(client, signer, payload):
    answer = send(client, payload, signer.headers(payload))
    assert (answer.status_code, answer.json()["code"]) == (400, "parse_error")


def test_keys_that_cannot_be_had(client, signer):
    signer.status = 500
    payload = payload_of(mint_pat(UserFactory()).token)
    answer = send(client, payload, signer.headers(payload))
    assert (answer.status_code, answer.json()["code"]) == (503, "keys_unavailable")
    assert answer["Retry-After"] == "60"
    signer.status = 200
    assert send(client, payload, signer.headers(payload)).status_code == 200
