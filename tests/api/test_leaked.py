"""Reports of leaked keys, from anyone and from GitHub."""

import base64
import hashlib
import json
import threading
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core import mail as django_mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apikeys import audit, grants, lifecycle, signals
from apikeys.leaks import github
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


def test_reported_key_is_revoked(client):
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


def test_list_of_keys_is_revoked(client):
    kept, one, two = mint_pat(), mint_pat(), mint_key()
    wrong = with_wrong_secret(kept.token)
    tokens = [one.token, two.token, f" {one.token}\n", of_nobody(), wrong, "nonsense"]
    answer = present(client, {"tokens": tokens})

    ids = sorted(m.key.public_id for m in (one, two))
    assert answer.json() == {"revoked": ids, "unknown": 3}
    assert verify(kept.token).kind
    for text in tokens:
        assert text.strip()[26:] not in answer.content.decode() or text == "nonsense"


@pytest.mark.parametrize("number", [10, 100])
def test_a_report_takes_as_many_queries_for_a_hundred_keys(client, number):
    minted = [mint_pat() for _ in range(number // 2)] + [mint_key() for _ in range(number // 2)]
    with CaptureQueriesContext(connection) as queries:
        answer = present(client, {"tokens": [each.token for each in minted]})
    assert len(queries) <= 40
    assert answer.json()["revoked"] == sorted(each.key.public_id for each in minted)
    assert {why(each) for each in minted} == {"revoked_key"}
    assert AuditEvent.objects.filter(event="leaked").count() == number


@pytest.mark.slow
def test_a_report_of_keys_that_rotated_themselves_takes_as_many_queries(client):
    makers = [mint_pat() for _ in range(20)]
    newer = [
        lifecycle.rotate(each.key, within=grants.for_tokens(each.key.user, verify(each.token)))
        for each in makers
    ]
    with CaptureQueriesContext(connection) as queries:
        present(client, {"tokens": [each.token for each in makers]})
    assert len(queries) <= 50
    for each, old in zip(newer, makers, strict=True):
        each.key.refresh_from_db()
        assert old.key.public_id in each.key.revoked_reason


def test_a_key_that_cannot_be_checked_does_not_save_the_others(client, monkeypatch):
    from apikeys import refusals

    good, lost = mint_pat(), mint_pat()
    type(lost.key).objects.filter(pk=lost.key.pk).update(pepper_id="gone")

    def busy(*args):
        raise Refused(refusals.VERIFICATION_BUSY)

    monkeypatch.setattr("apikeys.hashing.converted.check_rest", busy)
    answer = present(client, {"tokens": [lost.token, good.token]})
    assert (answer.status_code, answer.json()["code"]) == (503, "verification_busy")
    assert why(good) == "revoked_key"


def test_keys_created_by_a_reported_key_are_revoked(client):
    ada = MembershipFactory(role="owner").user
    thief = mint_pat(ada, scopes=["keys:write", "payments:read"])
    made = mint_pat(ada, within=grants.for_tokens(ada, verify(thief.token)))
    present(client, {"token": thief.token})

    assert why(made) == "revoked_key"


def test_a_paused_key_that_is_reported_is_revoked(client, django_capture_on_commit_callbacks):
    minted = mint_pat(MembershipFactory(user__email="ada@example.com").user)
    lifecycle.pause(minted.key)
    django_mail.outbox.clear()
    with django_capture_on_commit_callbacks(execute=True):
        assert present(client, {"token": minted.token}).json()["revoked"] == [minted.key.public_id]

    assert why(minted) == "revoked_key"
    assert AuditEvent.objects.get(event="leaked").changes["revoked"] is True
    (sent,) = django_mail.outbox
    assert "leaked" in sent.subject


def test_reporting_a_revoked_key_changes_nothing(client):
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
def test_malformed_report_is_refused(client, body):
    answer = present(client, body)
    assert answer.status_code == 400
    assert answer.json()["code"] in ("invalid", "parse_error")
    assert answer.json()["detail"]


def test_key_in_a_malformed_body_is_not_shown_again(client):
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
    """Sign messages like GitHub, and serve the public keys."""

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
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
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


def test_github_report_revokes_the_key(client, signer):
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


def test_github_report_only_warns_if_configured(client, signer, settings):
    settings.APIKEYS = settings.APIKEYS | {"GITHUB_LEAK_ACTION": "warn"}
    minted = mint_pat()
    payload = payload_of(minted.token)
    answer = send(client, payload, signer.headers(payload))

    assert answer.json()[0]["label"] == "true_positive"
    assert verify(minted.token).kind
    assert AuditEvent.objects.get(event="leaked").changes["revoked"] is False


def test_message_with_invalid_signature_is_refused(client, signer):
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


def test_signature_with_another_curve_is_refused(client, signer):
    signer.private = ec.generate_private_key(ec.SECP384R1())
    payload = payload_of(mint_pat().token)
    assert send(client, payload, signer.headers(payload)).status_code == 401


@pytest.mark.parametrize("payload", [b"", b"{", b"{}", b"[7]", b'[{"token": 7, "type": "x"}]'])
def test_signed_but_malformed_message_is_refused(client, signer, payload):
    answer = send(client, payload, signer.headers(payload))
    assert (answer.status_code, answer.json()["code"]) == (400, "parse_error")


def test_unavailable_public_keys_return_503(client, signer):
    signer.status = 500
    payload = payload_of(mint_pat(UserFactory()).token)
    answer = send(client, payload, signer.headers(payload))
    assert (answer.status_code, answer.json()["code"]) == (503, "keys_unavailable")
    assert answer["Retry-After"] == "60"
    signer.status = 200
    github._failed.clear()  # the time until the next fetch has passed
    assert send(client, payload, signer.headers(payload)).status_code == 200


def test_failed_fetch_is_not_repeated_for_each_request(client, db, signer):
    signer.status = 500
    headers = {"Github-Public-Key-Identifier": "a", "Github-Public-Key-Signature": "b"}
    answers = [send(client, b"[]", headers) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {503}
    assert signer.fetched == 1


@pytest.mark.slow
def test_hanging_fetch_does_not_block_other_requests(client, signer):
    payload = payload_of(mint_pat(UserFactory()).token)
    assert send(client, payload, signer.headers(payload)).status_code == 200
    with github._lock:  # like a hanging fetch of an unknown public key
        assert send(client, b"[]", signer.headers(b"[]")).status_code == 200
        unknown = signer.headers(b"[]") | {"Github-Public-Key-Identifier": "other"}
        assert send(client, b"[]", unknown).status_code == 503


# A key that was rotated before the report


def rotate(minted, *, with_itself=True, overlap=timedelta(days=1), ago=timedelta()):
    """Rotate a token as if ``ago`` before now, and return its successor."""
    within = grants.for_tokens(minted.key.user, verify(minted.token)) if with_itself else None
    successor = lifecycle.rotate(minted.key, overlap=overlap, within=within)
    type(minted.key).objects.filter(pk=minted.key.pk).update(rotated_at=timezone.now() - ago)
    return successor


@pytest.fixture
def stolen():
    ada = MembershipFactory(role="owner", user__email="ada@example.com").user
    return mint_pat(ada, scopes=["keys:write", "payments:read"])


def the_mail():
    (mail,) = (
        each for each in django_mail.outbox if "was reported as leaked, so it was" in each.body
    )
    return mail.body


def by_github(client, minted, signer):
    payload = payload_of(minted.token)
    return send(client, payload, signer.headers(payload))


def by_anybody(client, minted, signer):
    return present(client, {"token": minted.token})


@pytest.mark.parametrize("report", [by_anybody, by_github])
@pytest.mark.parametrize("overlap", [timedelta(days=1), timedelta(0)])
def test_successor_is_revoked_if_the_key_rotated_itself_within_a_day(
    client, signer, stolen, report, overlap, django_capture_on_commit_callbacks
):
    successor = rotate(stolen, overlap=overlap, ago=timedelta(hours=23))
    made = mint_pat(
        stolen.key.user, within=grants.for_tokens(stolen.key.user, verify(successor.token))
    )
    with django_capture_on_commit_callbacks(execute=True):
        assert report(client, stolen, signer).status_code == 200

    assert why(stolen) == why(successor) == why(made) == "revoked_key"
    event = AuditEvent.objects.get(event="leaked")
    assert event.changes["successors"] == [successor.key.public_id]
    assert f"Its successor {successor.key.public_id} was revoked too" in the_mail()


def test_every_successor_of_keys_that_rotated_themselves_is_revoked(client, stolen):
    second = rotate(stolen)
    third = rotate(second)
    present(client, {"token": stolen.token})
    assert why(stolen) == why(second) == why(third) == "revoked_key"


def test_successor_is_revoked_if_rotated_with_an_exchanged_token(client, stolen):
    access = replace(verify(stolen.token), credential_id="oauth:1", key=stolen.key.public_id)
    successor = lifecycle.rotate(stolen.key, overlap=timedelta(days=1))
    rotation = AuditEvent.objects.filter(event="rotated")
    rotation._raw_delete("default")
    audit._rotated(stolen.key, stolen.key.user, access, successor.key)

    present(client, {"token": stolen.token})
    assert why(successor) == "revoked_key"


@pytest.mark.parametrize("report", [by_anybody, by_github])
@pytest.mark.parametrize(
    "rotation", [{"ago": timedelta(hours=25)}, {"with_itself": False}], ids=["old", "by owner"]
)
def test_old_key_does_not_revoke_the_key_in_production(
    client, signer, stolen, report, rotation, django_capture_on_commit_callbacks
):
    successor = rotate(stolen, **rotation)
    with django_capture_on_commit_callbacks(execute=True):
        report(client, stolen, signer)

    assert why(stolen) == "revoked_key"
    assert verify(successor.token).kind
    assert "successors" not in AuditEvent.objects.get(event="leaked").changes
    assert f"manage.py apikeys revoke {successor.key.public_id}" in the_mail()


def test_successor_rotated_by_its_owner_stays_active(
    client, stolen, django_capture_on_commit_callbacks
):
    thiefs = rotate(stolen)
    owners = rotate(thiefs, with_itself=False)
    with django_capture_on_commit_callbacks(execute=True):
        present(client, {"token": stolen.token})

    assert why(thiefs) == "revoked_key"
    assert verify(owners.token).kind
    assert f"manage.py apikeys revoke {owners.key.public_id}" in the_mail()


def test_second_report_sends_no_second_mail(client, stolen, django_capture_on_commit_callbacks):
    rotate(stolen, with_itself=False)
    with django_capture_on_commit_callbacks(execute=True):
        present(client, {"token": stolen.token})
        present(client, {"token": stolen.token})
    assert the_mail()


def test_successor_stays_active_if_github_only_warns(client, signer, settings, stolen):
    settings.APIKEYS = settings.APIKEYS | {"GITHUB_LEAK_ACTION": "warn"}
    successor = rotate(stolen)
    by_github(client, stolen, signer)
    assert verify(stolen.token).kind
    assert verify(successor.token).kind
