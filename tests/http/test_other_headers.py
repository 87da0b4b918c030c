"""Our own keys in further headers (``HEADERS``), in every framework."""

import pytest
from django.core.checks import run_checks
from django.test import Client
from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from apikeys.error_reports import _hidden
from apikeys.http import cors
from apikeys.http.shared_caches import credential_headers
from tests.drf.test_schema import Nothing, security
from tests.factories import bearer, mint_key, mint_pat, with_wrong_secret
from tests.legacy.conftest import TOMORROW
from tests.server_urls import Plain

PATHS = ["/drf/", "/plain/", "/async/", "/ninja/sync", "/ninja/async"]
pytestmark = [pytest.mark.urls("tests.legacy.conftest"), pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def site(settings):
    settings.APIKEYS = {**settings.APIKEYS, "HEADERS": ["X-Api-Key", "PRIVATE-TOKEN"]}


def get(where="/plain/", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    response = Client().get(where, headers=headers)
    body = response.json()
    return response.status_code, body.get("code") or body.get("id")


@pytest.mark.parametrize("where", PATHS)
@pytest.mark.parametrize("name", ["X_Api_Key", "PRIVATE_TOKEN", "x_api_key"])
def test_a_key_is_taken(where, name):
    for minted in (mint_pat(), mint_key()):
        assert get(where, **{name: minted.token}) == (200, minted.key.public_id)
        assert get(where, **{name: f" {minted.token}\t"})[0] == 200
        assert get(where, **{name: with_wrong_secret(minted.token)}) == (401, "invalid_key")
        assert get(where, **bearer(minted)) == (200, minted.key.public_id)


@pytest.mark.parametrize("where", PATHS)
def test_what_is_no_key_is_refused(where):
    text = mint_pat().token
    for value in ("acme_pat_mistyped", "something", f"{text},{text}", f"Bearer {text}", text[:-1]):
        assert get(where, X_Api_Key=value) == (401, "malformed_key")
    assert get(where, X_Api_Key="") == (401, "not_authenticated")


@pytest.mark.parametrize("where", PATHS)
def test_two_credentials_are_refused(where):
    one, other = mint_pat().token, mint_key().token
    twice = 400, "invalid_request"
    assert get(where, X_Api_Key=one, **bearer(one)) == twice
    assert get(where, X_Api_Key=one, Authorization="Bearer two words") == twice
    assert get(where, X_Api_Key=one, PRIVATE_TOKEN=other) == twice


def test_another_scheme_may_stand_beside_it(settings):
    """Such as the password of a proxy before the whole site."""
    minted = mint_pat()
    assert get(X_Api_Key=minted.token, Authorization="Basic YTpi")[0] == 200
    settings.APIKEYS = {**settings.APIKEYS, "BASIC_AUTH": True}
    assert get(X_Api_Key=minted.token, Authorization="Basic YTpi") == (400, "invalid_request")


@pytest.mark.parametrize("where", PATHS)
def test_two_credentials_of_two_kinds_are_refused(settings, where):
    legacy = {
        "authtoken": {"UNTIL": TOMORROW},
        "csv": {"UNTIL": TOMORROW, "HEADERS": ["X-Api-Key", "X-Old-Key"]},
    }
    settings.APIKEYS = {**settings.APIKEYS, "LEGACY": legacy}
    text, old = mint_pat().token, "a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4e5f6"
    assert get(where, X_Api_Key=text)[0] == 200
    for others in (
        {"Authorization": f"Token {old}"},
        {"Authorization": f"token  {old}"},
        {"Authorization": f"DPoP {text}"},
        {"X-Old-Key": old},
        {"Signature-Input": "x=()", "Signature": "x=:aa:"},
    ):
        assert get(where, X_Api_Key=text, **others) == (400, "invalid_request")
    assert get(where, PRIVATE_TOKEN=text, X_Api_Key=old) == (400, "invalid_request")


def test_without_the_setting_the_header_means_nothing(settings):
    settings.APIKEYS = {**settings.APIKEYS, "HEADERS": []}
    minted = mint_pat()
    assert get(X_Api_Key=minted.token) == (401, "not_authenticated")
    assert get(X_Api_Key=minted.token, **bearer(minted))[0] == 200


def test_imported_keys_may_share_the_header(settings):
    legacy = {"csv": {"UNTIL": TOMORROW, "HEADERS": ["X-Api-Key"]}}
    settings.APIKEYS = {**settings.APIKEYS, "LEGACY": legacy}
    minted = mint_pat()
    assert get(X_Api_Key=minted.token) == (200, minted.key.public_id)
    assert get(X_Api_Key="sk-live-8f14e45fceea167a5a36dedd4bea2543") == (401, "invalid_key")


def test_caches_tell_the_callers_apart():
    minted = mint_pat()
    for where in PATHS:
        open_, own = Client().get(where), Client().get(where, headers={"X-Api-Key": minted.token})
        for response in (open_, own):
            assert {"Authorization", "X-Api-Key", "PRIVATE-TOKEN"} <= {
                each.strip() for each in response["Vary"].split(",")
            }
        assert "private" in own["Cache-Control"]
    assert credential_headers()[:3] == ("Authorization", "X-Api-Key", "PRIVATE-TOKEN")


def test_error_reports_hide_it():
    for name in ("X-Api-Key", "HTTP_X_API_KEY", "private-token"):
        assert _hidden(name) is not None
    assert _hidden("X-Other") is None


def test_the_schema_has_each_header():
    view = type("Orders", (Plain,), {"serializer_class": Nothing})
    operations, schemes = security([path("orders/", view.as_view())])
    assert operations["/orders/", "get"] == [
        {"bearerAuth": ["payments:read"]},
        {"X-Api-Key": []},
        {"PRIVATE-TOKEN": []},
    ]
    assert schemes["X-Api-Key"] == {
        "type": "apiKey",
        "in": "header",
        "name": "X-Api-Key",
        "description": "A key.",
    }
    validate_schema(SchemaGenerator(patterns=[]).get_schema(request=None, public=True))


@pytest.mark.parametrize(
    "given",
    ["X-Api-Key", ["Authorization"], ["Signature"], ["Cookie"], ["X Api"], ["X_Api"], [7], [""]],
)
def test_a_wrong_value_is_reported(settings, given):
    settings.APIKEYS = {**settings.APIKEYS, "HEADERS": given}
    assert "apikeys.E104" in [message.id for message in run_checks(tags=["apikeys"])]


class TestCORS:
    """Browsers of other origins may send them, by django-cors-headers."""

    @pytest.fixture(autouse=True)
    def corsheaders(self, settings, monkeypatch):
        given = settings.APIKEYS
        monkeypatch.setattr(cors.apps, "is_installed", lambda name: True)
        settings.MIDDLEWARE = ["corsheaders.middleware.CorsMiddleware", *settings.MIDDLEWARE]
        settings.CORS_ALLOWED_ORIGINS = ["https://app.example"]
        settings.CORS_ALLOW_HEADERS = ["authorization", "x-own"]
        settings.APIKEYS = given

    def preflight(self, origin="https://app.example"):
        headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        return Client().options("/plain/", headers=headers)

    def test_a_preflight_allows_each_header(self):
        allowed = self.preflight()["Access-Control-Allow-Headers"]
        assert allowed == "authorization, x-own, X-Api-Key, PRIVATE-TOKEN"

    def test_the_site_still_says_which_origins(self):
        assert "Access-Control-Allow-Headers" not in self.preflight("https://other.example")
