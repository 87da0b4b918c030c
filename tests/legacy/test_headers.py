"""Several old headers for the keys of one package (``HEADERS``)."""

import pytest
from django.core.checks import run_checks
from django.test import Client

from apikeys.http.shared_caches import credential_headers
from apikeys.legacy import schemes
from tests.legacy.conftest import PATHS, TOMORROW, YESTERDAY, api_key, authtoken_of

pytestmark = [pytest.mark.urls("tests.legacy.conftest"), pytest.mark.django_db(transaction=True)]

SCOPE = ["--scope", "payments:read"]
WAYS = [
    {"Authorization": "Token {}"},
    {"Authorization": "Bearer {}"},
    {"authorization": "bearer {}"},
    {"X-Api-Key": "{}"},
]


def sent(way, text):
    return {name: value.format(text) for name, value in way.items()}


@pytest.mark.parametrize(
    "headers",
    [
        ["Authorization: Token", "Authorization: Bearer", "X-Api-Key"],
        ["Token", "Bearer", "X-Api-Key"],
        ("X-Api-Key", "Bearer", "Token", "Token"),
    ],
)
def test_a_key_is_taken_in_each_of_them(get, takes, apikeys, ada, headers):
    takes(authtoken={"UNTIL": TOMORROW, "HEADERS": headers})
    text = authtoken_of(ada)
    assert apikeys("import", "--from", "authtoken", *SCOPE).code == 0
    ids = {get(sent(way, text), where) for way in WAYS for where in PATHS}
    assert [status for status, _ in ids] == [200]
    assert get({"Authorization": f"Api-Key {text}"}) == (401, "not_authenticated")
    assert get({"X-Api-Key": f"{text}x"}) == (401, "invalid_key")
    takes(authtoken={"UNTIL": YESTERDAY, "HEADERS": headers})
    assert get({"X-Api-Key": text}) == (401, "legacy_ended")


def test_without_the_list_there_is_one(get, takes, apikeys, ada):
    takes(authtoken=TOMORROW)
    text = authtoken_of(ada)
    assert apikeys("import", "--from", "authtoken", *SCOPE).code == 0
    answers = [get(sent(way, text))[0] for way in WAYS]
    assert answers == [200, 401, 401, 401]


def test_two_packages_may_share_a_header(get, takes, apikeys, ada, project):
    takes(
        authtoken={"UNTIL": TOMORROW, "HEADERS": ["Token", "X-Api-Key"]},
        drf_api_key={"UNTIL": TOMORROW, "HEADERS": ["Authorization: Api-Key", "X-Api-Key"]},
    )
    token, key = authtoken_of(ada), api_key("the billing server")
    assert apikeys("import", "--from", "authtoken", *SCOPE).code == 0
    assert apikeys("import", "--from", "drf-api-key", "--project", "shop", *SCOPE).code == 0
    assert {get({"X-Api-Key": text})[0] for text in (token, key)} == {200}
    assert get({"Authorization": f"Api-Key {key}"})[0] == 200
    assert get({"Authorization": f"Token {key}"}) == (401, "invalid_key")
    assert get({"Authorization": f"Api-Key {token}"}) == (401, "invalid_key")
    # The names are those of the old package.
    names = {each["name"] for each in apikeys("list", "--json").json}
    assert "the billing server" in names


def test_caches_tell_the_callers_apart(takes):
    takes(csv={"UNTIL": TOMORROW, "HEADERS": ["X-Api-Key", "x-api-key", "X-Old-Key"]})
    assert credential_headers()[:3] == ("Authorization", "X-Api-Key", "X-Old-Key")
    vary = Client().get("/plain/")["Vary"]
    assert "X-Api-Key" in vary
    assert "X-Old-Key" in vary


def test_people_see_all_of_them(takes):
    takes(csv={"UNTIL": TOMORROW, "HEADERS": ["X-Api-Key", "Token"]})
    assert schemes.enabled()["csv"].header == "X-Api-Key, Authorization: Token"


@pytest.mark.parametrize(
    "given",
    [
        {"HEADERS": "X-Api-Key"},
        {"HEADERS": []},
        {"HEADERS": ["Authorization"]},
        {"HEADERS": ["Authorization: Basic"]},
        {"HEADERS": [7]},
        {"HEADERS": [["X-Api-Key"]]},
        {"HEADERS": ["X-Api-Key"], "HEADER": "X-Api-Key"},
        {"HEADER": ["X-Api-Key"]},
    ],
)
def test_a_wrong_value_is_reported(settings, given):
    legacy = {"csv": {"UNTIL": TOMORROW, **given}}
    settings.APIKEYS = {**settings.APIKEYS, "LEGACY": legacy}
    assert "apikeys.E051" in [message.id for message in run_checks(tags=["apikeys"])]
