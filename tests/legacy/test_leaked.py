"""Imported keys that leaked: reported with their text, and found by it in the admin."""

import json

import pytest
from django.contrib.auth.hashers import make_password
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apikeys.models import LegacyKey, PersonalAccessToken
from tests.factories import UserFactory
from tests.legacy.conftest import TOMORROW, api_key, authtoken_of, knox_of

pytestmark = [pytest.mark.urls("tests.server_urls"), pytest.mark.django_db]

SCOPE = ["--scope", "payments:read"]


def report(*texts):
    body = json.dumps({"tokens": texts})
    return Client().post("/api/leaked/", body, content_type="application/json")


@pytest.fixture
def imported(apikeys, ada, takes):
    """The text of a token that DRF authtoken issued, and its header."""
    takes(authtoken=TOMORROW)
    text = authtoken_of(ada)
    apikeys("import", "--from", "authtoken", *SCOPE)
    return text, {"Authorization": f"Token {text}"}


@pytest.mark.parametrize("used", [True, False])
def test_a_reported_text_is_revoked(imported, get, used):
    text, headers = imported
    if used:
        assert get(headers)[0] == 200
    answer = report(text)
    key = PersonalAccessToken.objects.get()
    assert answer.json() == {"revoked": [key.public_id], "unknown": 0}
    assert text not in answer.content.decode()
    assert key.revoked_reason == "Reported as leaked."
    assert get(headers) == (401, "revoked_key")


def test_a_hash_that_was_imported_is_found_by_its_text(apikeys, ada, takes, get):
    takes(knox=TOMORROW)
    text = knox_of(ada)
    apikeys("import", "--from", "knox", *SCOPE)
    assert report(text).json()["unknown"] == 0
    assert get({"Authorization": f"Token {text}"}) == (401, "revoked_key")


@pytest.mark.slow
def test_a_slow_hash_is_checked_and_attempts_are_limited(apikeys, project, takes, settings):
    from rest_framework_api_key.models import APIKey

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    text = api_key()
    APIKey.objects.update(hashed_key=make_password(text))
    takes(drf_api_key=TOMORROW)
    apikeys("import", "--from", "drf-api-key", "--project", "shop", *SCOPE)
    settings.APIKEYS = {**settings.APIKEYS, "ARGON2_TRIES": 2}
    wrong = f"{text[:-2]}00"
    assert [report(wrong).status_code for _ in range(3)] == [200, 200, 503]
    settings.APIKEYS = {**settings.APIKEYS, "ARGON2_TRIES": 20}
    assert report(wrong).json() == {"revoked": [], "unknown": 1}
    assert report(text).json()["unknown"] == 0


@pytest.mark.parametrize("used", [True, False])
def test_a_wrong_text_revokes_nothing(imported, get, used):
    text, headers = imported
    if used:
        get(headers)
    legacy = LegacyKey.objects.get()
    for wrong in (text[:-1], text.upper(), legacy.selector, legacy.hash or "x", "é" * 40, "\0"):
        assert report(wrong).json() == {"revoked": [], "unknown": 1}
    assert get(headers)[0] == 200


@pytest.mark.slow
def test_a_text_that_can_be_guessed_is_not_tried(apikeys, ada, takes, get):
    takes(authtoken=TOMORROW)
    authtoken_of(ada, "letmein")
    apikeys("import", "--from", "authtoken", *SCOPE)
    assert report("letmein").json() == {"revoked": [], "unknown": 1}
    assert get({"Authorization": "Token letmein"})[0] == 200


def test_many_texts_take_as_many_queries_as_one(apikeys, takes):
    takes(authtoken=TOMORROW)
    texts = [authtoken_of(UserFactory()) for _ in range(6)]
    apikeys("import", "--from", "authtoken", *SCOPE)
    numbers = []
    for some in (texts[:1], texts[1:]):
        with CaptureQueriesContext(connection) as queries:
            assert report(*some).json()["unknown"] == 0
        numbers.append(len(queries))
    assert numbers[1] <= numbers[0] + 5, "one mail and its event for each owner"


def test_the_admin_finds_the_page_by_the_text(imported, client, get):
    text, headers = imported
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    url = "/admin/apikeys/personalaccesstoken/"
    for _ in range(2):
        response = client.post(f"{url}find/", {"key": text})
        assert response["Location"] == f"{url}{PersonalAccessToken.objects.get().pk}/change/"
        assert get(headers)[0] == 200
    wrong = f"{text[:-1]}{'0' if text[-1] != '0' else '1'}"
    page = client.post(f"{url}find/", {"key": wrong}).content.decode()
    assert "This credential is malformed." in page
    assert wrong not in page
