"""Metadata of keys over the JSON API."""

import pytest

from apikeys.verify import verify
from tests.factories import mint_key, mint_pat

from .conftest import Caller

GIVEN = {"team": "billing", "tags": ["a", {"b": None}]}


@pytest.fixture(params=["token", "key"])
def keys(request, ada, engine):
    return "tokens/" if request.param == "token" else f"projects/{engine.slug}/keys/"


@pytest.mark.slow
def test_metadata_is_written_and_read(ada, keys):
    caller = Caller(user=ada)
    body = {"name": "x", "scopes": ["payments:read"], "metadata": GIVEN}
    made = caller("POST", keys, body)
    assert (made.status_code, made.json()["metadata"]) == (201, GIVEN)
    path = f"{keys}{made.json()['id']}/"
    assert verify(made.json()["token"]).metadata == GIVEN
    shown = Caller(made.json()["token"])("GET", "token/").json()
    assert shown["metadata"] == GIVEN

    renamed = caller("PATCH", path, {"name": "y"}).json()
    assert renamed["metadata"] == GIVEN
    changed = caller("PATCH", path, {"metadata": {"team": "sales"}}).json()
    assert changed["metadata"] == {"team": "sales"}
    rotated = caller("POST", f"{path}rotate/").json()
    assert rotated["metadata"] == {"team": "sales"}
    removed = caller("PATCH", f"{keys}{rotated['id']}/", {"metadata": {}}).json()
    assert removed["metadata"] == {}
    assert "metadata" not in Caller(rotated["token"])("GET", "token/").json()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ([], "invalid_metadata"),
        ("{}", "invalid_metadata"),
        (5, "invalid_metadata"),
        (None, "null"),
        ({"a": 2**60}, "invalid_metadata"),
        ({"a": "b\0"}, "invalid_metadata"),
        ({"a": [[[[[[[[[]]]]]]]]]}, "invalid_metadata"),
        ({"a": "x" * 4096}, "metadata_too_large"),
    ],
)
def test_wrong_metadata_is_refused(ada, keys, given, code):
    caller = Caller(user=ada)
    body = {"name": "x", "scopes": ["payments:read"], "metadata": given}
    response = caller("POST", keys, body)
    assert (response.status_code, response.json()["code"]) == (400, code)
    assert response.json()["field"] == "metadata"
    assert caller("GET", keys).json()["results"] == []


def test_a_secret_in_the_metadata_is_refused_and_not_repeated(ada, keys):
    secret = mint_pat().token
    body = {"name": "x", "scopes": ["payments:read"], "metadata": {"old": secret}}
    response = Caller(user=ada)("POST", keys, body)
    assert (response.status_code, response.json()["code"]) == (400, "secret_in_text")
    assert secret not in response.content.decode()


def test_who_may_not_manage_a_key_does_not_change_its_metadata(ada, engine, stranger):
    token, key = mint_pat(ada, metadata=GIVEN), mint_key(engine, metadata=GIVEN)
    for caller in (Caller(user=stranger), Caller(mint_pat(ada, scopes=["keys:read"]).token)):
        for path in (
            f"tokens/{token.key.public_id}/",
            f"projects/{engine.slug}/keys/{key.key.public_id}/",
        ):
            assert caller("PATCH", path, {"metadata": {}}).status_code in (403, 404)
    assert verify(token.token).metadata == verify(key.token).metadata == GIVEN
