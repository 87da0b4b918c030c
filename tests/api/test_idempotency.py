"""``Idempotency-Key``: the same request twice makes one key."""

import threading
from datetime import timedelta
from functools import partial

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from apikeys import lifecycle
from apikeys.lifecycle import sealing
from apikeys.models import IdempotentRequest, PersonalAccessToken
from apikeys.verify import verify
from tests.factories import mint_pat
from tests.threads import at_once

from .conftest import Caller

BODY = {"name": "laptop", "scopes": ["payments:read"]}


@pytest.fixture
def caller(ada):
    return Caller(user=ada)


def test_repeated_creation_creates_one_token_and_hides_its_secret(caller):
    first = caller("POST", "tokens/", BODY, Idempotency_Key="a")
    second = caller("POST", "tokens/", dict(reversed(BODY.items())), Idempotency_Key="a")

    assert (first.status_code, second.status_code) == (201, 201)
    assert "Idempotency-Replayed" not in first
    assert second["Idempotency-Replayed"] == "true"
    assert second.json() == first.json() | {"token": None}
    assert PersonalAccessToken.objects.count() == 1


def test_repeated_rotation_creates_one_successor(caller, ada):
    path = f"tokens/{mint_pat(ada).key.public_id}/rotate/"

    first, second = (caller("POST", path, Idempotency_Key="a") for _ in range(2))

    assert second.json() == first.json() | {"token": None}
    assert caller("POST", path).json()["code"] == "already_rotated"


def test_repeated_creation_creates_one_project_key(caller):
    path = "projects/analytical-engine/keys/"

    first, second = (caller("POST", path, BODY, Idempotency_Key="a") for _ in range(2))

    assert second.json() == first.json() | {"token": None}


def test_repeated_request_returns_the_current_facts(caller):
    made = caller("POST", "tokens/", BODY, Idempotency_Key="a").json()
    caller("DELETE", f"tokens/{made['id']}/")

    again = caller("POST", "tokens/", BODY, Idempotency_Key="a").json()

    assert (again["id"], again["state"], again["token"]) == (made["id"], "revoked", None)


def test_the_same_key_for_another_request_is_refused(caller, ada):
    rotate = f"tokens/{mint_pat(ada).key.public_id}/rotate/"
    caller("POST", "tokens/", BODY, Idempotency_Key="a")

    for path, body in [
        ("tokens/", BODY | {"name": "desk"}),
        ("tokens/", BODY | {"expires_at": None}),
        ("projects/analytical-engine/keys/", BODY),
        (rotate, {}),
    ]:
        response = caller("POST", path, body, Idempotency_Key="a")
        assert response.status_code == 422
        assert response.json()["code"] == "idempotency_key_reused"
    assert PersonalAccessToken.objects.count() == 2


def test_failed_request_can_be_repeated(caller, monkeypatch):
    def fail(key):
        raise RuntimeError

    monkeypatch.setattr(sealing, "seal", fail)
    assert caller("POST", "tokens/", BODY, Idempotency_Key="a").status_code == 500
    monkeypatch.undo()
    refused = caller("POST", "tokens/", BODY | {"scopes": ["x"]}, Idempotency_Key="a")
    assert refused.status_code == 400

    made = caller("POST", "tokens/", BODY, Idempotency_Key="a").json()

    assert verify(made["token"])


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256])
def test_malformed_idempotency_key_is_refused(caller, key):
    caller.client.defaults["HTTP_IDEMPOTENCY_KEY"] = key.encode().decode("latin-1")

    response = caller("POST", "tokens/", BODY)

    assert (response.status_code, response.json()["code"]) == (400, "invalid_idempotency_key")
    assert not PersonalAccessToken.objects.exists()


def test_same_idempotency_key_of_other_callers_creates_other_keys(caller, ada, stranger):
    manage = {"scopes": ["keys:write", "payments:read"]}
    callers = [
        caller,
        Caller(user=stranger),
        Caller(mint_pat(ada, **manage).token),
        Caller(mint_pat(ada, **manage).token),
    ]

    tokens = [c("POST", "tokens/", BODY, Idempotency_Key="a").json()["token"] for c in callers]

    assert None not in tokens
    assert len(set(tokens)) == len(callers)


def test_idempotency_key_is_forgotten_after_24_hours(caller):
    first = caller("POST", "tokens/", BODY, Idempotency_Key="a").json()
    caller("POST", "tokens/", BODY, Idempotency_Key="b")
    IdempotentRequest.objects.update(created_at=timezone.now() - timedelta(hours=24))

    again = caller("POST", "tokens/", BODY, Idempotency_Key="a").json()

    assert again["token"]
    assert again["id"] != first["id"]
    assert IdempotentRequest.objects.count() == 1  # b's was pruned


def test_server_clock_ahead_of_the_database_forgets_no_key_too_early(caller, monkeypatch):
    first = caller("POST", "tokens/", BODY, Idempotency_Key="a").json()
    right = timezone.now
    monkeypatch.setattr("django.utils.timezone.now", lambda: right() + timedelta(hours=25))

    caller("POST", "tokens/", BODY, Idempotency_Key="b")
    again = caller("POST", "tokens/", BODY, Idempotency_Key="a").json()

    assert again["id"] == first["id"]


def test_secret_is_returned_if_old_requests_cannot_be_deleted(caller, monkeypatch, caplog):
    def fail(*args):
        raise OperationalError("deadlock")

    monkeypatch.setattr("apikeys.databases.clock.now", fail)
    made = caller("POST", "tokens/", BODY, Idempotency_Key="a")

    assert made.status_code == 201
    assert made.json()["token"]
    assert "Could not delete old idempotent requests." in caplog.text


def test_request_is_stored_as_hashes_only(caller):
    made = caller("POST", "tokens/", BODY, Idempotency_Key="a-secret-of-the-client").json()

    row = str(IdempotentRequest.objects.values_list().get())
    for text in ("a-secret-of-the-client", "laptop", "payments", made["token"][-49:]):
        assert text not in row


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fails", [False, True])
def test_concurrent_requests_create_one_token(fails, monkeypatch, transactional_db, ada):
    """If the first request fails, a waiting request creates the token."""
    if fails:
        seal, failed = sealing.seal, threading.Event()

        def fail_once(key):
            if not failed.is_set():
                failed.set()
                raise lifecycle.LifecycleError("name_required", "Not yet.")
            return seal(key)

        monkeypatch.setattr(sealing, "seal", fail_once)
    callers = [Caller(user=ada) for _ in range(8)]

    def call(caller):
        return caller("POST", "tokens/", BODY, Idempotency_Key="a")

    answers = at_once(*[partial(call, caller) for caller in callers])
    connection.close()

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] * 7 + [400 if fails else 201]
    made = [answer.json() for answer in answers if answer.status_code == 201]
    assert len({key["id"] for key in made}) == 1
    assert len([key for key in made if key["token"]]) == 1
    assert PersonalAccessToken.objects.count() == 1
