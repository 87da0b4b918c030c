"""``curl -u KEY:``: Basic authentication with a key as the user name."""

import base64
import json
import subprocess

import pytest
from django.test import Client
from django.urls import path

from tests.factories import bearer, mint_key, mint_pat, of_nobody
from tests.http.test_http import api, plain, plain_async
from tests.server_urls import Plain

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]

urlpatterns = [
    path("drf/", Plain.as_view()),
    path("plain/", plain),
    path("async/", plain_async),
    path("ninja/", api.urls),
]
PATHS = ["/drf/", "/plain/", "/async/", "/ninja/sync"]


def basic(pair, scheme="Basic"):
    return {"Authorization": f"{scheme} {base64.b64encode(pair.encode()).decode()}"}


@pytest.fixture
def switched_on(settings):
    settings.APIKEYS = {**settings.APIKEYS, "BASIC_AUTH": True}


def answer(headers, where="/plain/"):
    response = Client().get(where, headers=headers)
    return response.status_code, response.json().get("code")


@pytest.mark.parametrize("where", PATHS)
@pytest.mark.parametrize("mint", [mint_pat, mint_key])
def test_a_key_is_taken_everywhere(switched_on, where, mint):
    assert answer(basic(f"{mint().token}:"), where) == (200, None)


@pytest.mark.parametrize("where", PATHS)
def test_it_is_off_unless_the_site_says_so(where):
    assert answer(basic(f"{mint_pat().token}:"), where) == (401, "not_authenticated")


@pytest.mark.parametrize("where", PATHS)
def test_a_password_is_refused(switched_on, where):
    headers = basic(f"{mint_pat().token}:secret")
    assert answer(headers, where) == (400, "invalid_basic")
    response = Client().get(where, headers=headers)
    assert response["WWW-Authenticate"].startswith('Bearer realm="api", error="invalid_request"')


@pytest.mark.parametrize(
    "header",
    [
        "Basic", "Basic ", "Basic x", "Basic =", "Basic a b", "Basic Og==", "Basic 4pyTOg==",
        "Basic YWJj", "basic\tYWJjOg==", "Basic YTo=, Bearer b",
    ],
)  # fmt: skip
def test_what_is_no_user_name_is_refused(switched_on, header):
    assert answer({"Authorization": header}) == (400, "invalid_basic")


def test_only_keys_are_taken(switched_on):
    """A password that somebody took for a key, and an access token, which has its own scheme."""
    assert answer(basic("ada:")) == (401, "malformed_key")
    assert answer(basic("an-access-token:")) == (401, "malformed_key")
    assert answer(basic(f"{of_nobody()}:")) == (401, "invalid_key")
    assert answer(basic(f"{mint_pat().token[:-1]}:")) == (401, "malformed_key")


def test_the_scheme_is_case_insensitive(switched_on):
    assert answer(basic(f"{mint_pat().token}:", "bAsIC")) == (200, None)


def test_no_challenge_makes_a_browser_ask_for_a_password(switched_on):
    """What a browser was told once it sends by itself, and so on behalf of any page."""
    assert Client().get("/plain/")["WWW-Authenticate"] == 'Bearer realm="api"'


def test_bearer_is_as_it_was(switched_on):
    assert answer(bearer(mint_pat().token)) == (200, None)
    assert answer({"Authorization": "Bearer"}) == (400, "invalid_request")
    assert answer({"Authorization": "Basically this"}) == (401, "not_authenticated")
    assert answer({"Authorization": "Digest x"}) == (401, "not_authenticated")


@pytest.mark.django_db(transaction=True)
def test_curl(switched_on, live_server):
    minted = mint_pat()
    words = ["curl", "-sS", "-K", "-", f"{live_server}/plain/"]
    done = subprocess.run(words, input=f'user = "{minted.token}:"', text=True, capture_output=True)
    assert json.loads(done.stdout)["id"] == minted.key.public_id
