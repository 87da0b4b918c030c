"""``Idempotency-Key``: the same request twice makes one key."""

import threading
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection
from django.utils import timezone

from apikeys import lifecycle
from apikeys.models import IdempotentRequest, PersonalAccessToken
from apikeys.verify import verify
from tests.factories import mint_pat
from tests.threads import at_once

from .conftest import Caller

BODY = {"name": "laptop", "scopes": ["payments:read"]}


@pytest.fixture
def caller(ada):
    return Caller(user=ada)


def test_minting_twice_makes_one_token_and_shows_its_secret_once(caller):
    first = caller("POST", "tokens/", BODY, Idempotency_Key="a")
    second = caller("POST", "tokens/", dict(reversed(BODY.items())), Idempotency_Key="a")

    assert (first.status_code, second.status_code) == (201, 201)
    assert "Idempotency-Replayed" not in first
    assert second["Idempotency-Replayed"] == "true"
    assert second.json() == first.json() | {"token": None}
    assert PersonalAccessToken.objects.count() == 1


def test_rotating_twice_makes_one_successor(caller, ada):
    path = f"tokens/{mint_pat(ada).key.public_id}/rotate/"

    first, second = (caller("POST", path, Idempotency_Key="a") for _ in range(2))

    assert second.json() == first.json() | {"token": None}
    assert caller("POST", path).json()["code"] == "already_rotated"


def test_project_keys_as_well(caller):
    path = "projects/analytical-engine/keys/"

    first, second = (caller("POST", path, BODY, Idempotency_Key="a") for _ in range(2))

    assert second.json() == first.json() | {"token": None}


def test_the_record_is_as_it_is_now(caller):
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


def test_what_failed_may_be_tried_again(caller, monkeypatch):
    def fail(key):
        raise RuntimeError

    monkeypatch.setattr(lifecycle, "_seal", fail)
    assert caller("POST", "tokens/", BODY, Idempotency_Key="a").status_code == 500
    monkeypatch.undo()
    refused = caller("POST", "tokens/", BODY | {"scopes": ["x"]}, Idempotency_Key="a")
    assert refused.status_code == 400

    made = caller("POST", "tokens/", BODY, Idempotency_Key="a").json()

    assert verify(made["token"])


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256])
def test_a_key_that_is_none(caller, key):
    caller.client.defaults["HTTP_IDEMPOTENCY_KEY"] = key.encode().decode("latin-1")

    response = caller("POST", "tokens/", BODY)

    assert (response.status_code, response.json()["code"]) == (400, "invalid_idempotency_key")
    assert not PersonalAccessToken.objects.exists()


def test_it_is_the_callers_own(caller, ada, stranger):
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


def test_after_a_day_it_is_forgotten(caller):
    first = caller("POST", "tokens/", BODY, Idempotency_Key="a").json()
    caller("POST", "tokens/", BODY, Idempotency_Key="b")
    IdempotentRequest.objects.update(created_at=timezone.now() - timedelta(hours=24))

    again = caller("POST", "tokens/", BODY, Idempotency_Key="a").json()

    assert again["token"]
    assert again["id"] != first["id"]
    assert IdempotentRequest.objects.count() == 1  # b's was pruned


def test_nothing_of_the_request_is_stored_as_it_is(caller):
    made = caller("POST", "tokens/", BODY, Idempotency_Key="a-secret-of-the-client").json()

    row = str(IdempotentRequest.objects.values_list().get())
    for text in ("a-secret-of-the-client", "laptop", "payments", made["token"][-49:]):
        assert text not in row


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fails", [False, True])
def test_many_at_the_same_moment_make_one_token(fails, monkeypatch, transactional_db, ada):
    """Also where the first of them fails, and those who waited for it go on."""
    if fails:
        seal, failed = lifecycle._seal, threading.Event()

        def fail_once(key):
            if not failed.is_set():
                failed.set()
                raise lifecycle.LifecycleError("name_required", "Not yet.")
            return seal(key)

        monkeypatch.setattr(lifecycle, "_seal", fail_once)
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
