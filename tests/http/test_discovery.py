"""Refusals tell a client where the API is described and which scopes it needs (RFC 9728)."""

import re

import pytest
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import include, path, re_path
from ninja import NinjaAPI
from rest_framework.generics import GenericAPIView
from rest_framework.response import Response

from apikeys.gateway.decide import refusal_headers
from apikeys.http import discovery, require_scopes
from apikeys.ninja import KeyAuth
from tests.documents import blocks
from tests.factories import bearer, mint_key

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]

METADATA = "http://testserver/.well-known/oauth-protected-resource"


@require_scopes("payments:write")
def plain(request):
    return HttpResponse("ok")


@require_scopes("payments:write")
async def plain_async(request):
    return HttpResponse("ok")


class View(GenericAPIView):
    required_scopes = {"read": ["payments:write"]}

    def get(self, request):
        return Response("ok")


class Listed(View):
    required_scopes = ["payments:write"]


api = NinjaAPI(urls_namespace="discovery")


@api.get("/sync", auth=KeyAuth("payments:write"))
def ninja(request):
    return "ok"


@api.get("/async", auth=KeyAuth("payments:write"))
async def ninja_async(request):
    return "ok"


@api.get("/several", auth=[KeyAuth("payments:write"), lambda request: None])
def ninja_of_several(request):
    return "ok"


urlpatterns = [
    path("plain/", plain),
    path("async/", plain_async),
    path("drf/", View.as_view()),
    path("listed/", Listed.as_view()),
    path("ninja/", api.urls),
    path("gateway/", include("apikeys.gateway.urls")),
    path("o/", include("apikeys.oauth.urls")),
    path("", include("apikeys.oauth.well_known")),
]


class CatchAll:
    """The URLs of a site whose last pattern matches everything."""

    urlpatterns = [*urlpatterns, re_path("", plain)]


@pytest.fixture(autouse=True)
def _plain_errors(settings):
    """Not the error pages of the example, which link to its other pages."""
    settings.TEMPLATES = [settings.TEMPLATES[0] | {"DIRS": []}]


PATHS = ["/plain/", "/async/", "/drf/", "/listed/", "/ninja/sync", "/ninja/async"]
MIDDLEWARE = ["apikeys.http.BearerMiddleware"]


def challenge(response):
    """Return the parameters of the one challenge."""
    header = response["WWW-Authenticate"]
    assert header.startswith("Bearer ")
    found = re.findall(r'(\w+)="([^"]*)"', header)
    assert len(dict(found)) == len(found), header
    return dict(found)


@pytest.mark.parametrize("at", [*PATHS, "/ninja/several"])
def test_request_without_a_credential_learns_where_and_what_to_request(at):
    response = Client().get(at)

    assert response.status_code == 401
    said = challenge(response)
    assert (said["resource_metadata"], said["scope"]) == (METADATA, "payments:write")
    assert Client().get(said["resource_metadata"].removeprefix("http://testserver")).json()


@pytest.mark.parametrize("at", PATHS)
@pytest.mark.parametrize("middleware", [[], MIDDLEWARE], ids=["view", "middleware"])
def test_invalid_credential_learns_the_same(at, middleware):
    with override_settings(MIDDLEWARE=middleware):
        response = Client().get(at, headers=bearer("made-up"))

    assert response.status_code == 401
    said = challenge(response)
    assert (said["resource_metadata"], said["error"]) == (METADATA, "invalid_token")
    if at != "/drf/" or not middleware:  # the middleware does not read a mapping of DRF
        assert said["scope"] == "payments:write"


@pytest.mark.parametrize("at", PATHS)
def test_missing_scope_is_named_with_the_metadata(at):
    response = Client().get(at, headers=bearer(mint_key(scopes=["payments:read"]).token))

    assert response.status_code == 403
    said = challenge(response)
    assert said["error"] == "insufficient_scope"
    assert (said["resource_metadata"], said["scope"]) == (METADATA, "payments:write")


@pytest.mark.parametrize("at", PATHS)
def test_other_403_is_left_alone(at):
    """Another token would not help a request from the wrong address."""
    minted = mint_key(scopes=["payments:write"], allowed_networks=["192.0.2.0/24"])
    response = Client().get(at, headers=bearer(minted.token))

    assert response.status_code == 403
    assert "resource_metadata" not in response["WWW-Authenticate"]


@pytest.mark.parametrize("at", PATHS)
def test_accepted_request_has_no_challenge(at):
    response = Client().get(at, headers=bearer(mint_key(scopes=["payments:write"]).token))

    assert response.status_code == 200, response.content
    assert "WWW-Authenticate" not in response


@pytest.mark.parametrize("at", PATHS)
def test_unknown_host_is_not_repeated(at):
    response = Client().get(at, headers={"Host": "evil.example"})
    assert "evil" not in response.get("WWW-Authenticate", "")


@pytest.mark.parametrize("at", PATHS)
def test_site_without_oauth_answers_as_before(at, monkeypatch):
    monkeypatch.setattr(discovery, "_metadata", [])
    assert Client().get(at)["WWW-Authenticate"] == 'Bearer realm="api"'


def test_site_that_serves_no_metadata_does_not_point_to_it():
    with override_settings(ROOT_URLCONF="tests.http.test_http"):
        assert Client().get("/plain/")["WWW-Authenticate"] == 'Bearer realm="api"'


def test_configured_resource_with_a_path_is_described_at_its_path(settings):
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {
        "OAUTH2_PROTECTED_RESOURCE_IDENTIFIER": "https://api.example/v1"
    }
    url = "https://api.example/.well-known/oauth-protected-resource/v1"
    assert challenge(Client().get("/plain/"))["resource_metadata"] == url

    found = Client().get("/.well-known/oauth-protected-resource/v1").json()
    assert found["resource"] == "https://api.example/v1"
    assert Client().get("/.well-known/oauth-protected-resource/plain/").status_code == 404


class TestPaths:
    @pytest.mark.parametrize("resource", ["plain/", "plain", "ninja/sync"])
    def test_path_of_the_site_is_a_resource(self, resource):
        found = Client().get(f"/.well-known/oauth-protected-resource/{resource}").json()

        assert found["resource"] == f"http://testserver/{resource}"
        assert found["authorization_servers"] == ["http://testserver/o"]

    def test_unknown_path_is_no_resource(self):
        assert Client().get("/.well-known/oauth-protected-resource/x").status_code == 404

    @pytest.mark.parametrize("path", ["//evil.example/x", "/%2Fevil.example/x"])
    def test_path_that_names_another_host_is_no_resource(self, path):
        with override_settings(ROOT_URLCONF=CatchAll):
            found = Client().get("/.well-known/oauth-protected-resource/x")
            assert found.json()["resource"] == "http://testserver/x"
            assert Client().get(f"/.well-known/oauth-protected-resource{path}").status_code == 404

    def test_path_outside_the_audiences_is_no_resource(self, settings):
        settings.APIKEYS = settings.APIKEYS | {"AUDIENCES": ["http://testserver/ninja/"]}
        at = "/.well-known/oauth-protected-resource/{}"
        assert Client().get(at.format("ninja/sync")).status_code == 200
        assert Client().get(at.format("plain/")).status_code == 404


class TestGateway:
    ROUTES = [{"method": "GET", "path": "/offers", "scopes": ["payments:read", "reports:read"]}]

    @pytest.fixture(autouse=True)
    def routes(self, settings):
        settings.APIKEYS = settings.APIKEYS | {"GATEWAY_ROUTES": self.ROUTES}

    def ask(self, token=None):
        headers = {"X-Original-Method": "GET", "X-Original-URI": "/offers"}
        headers |= bearer(token) if token else {}
        return Client().get("/gateway/authorize/", headers=headers)

    @pytest.mark.parametrize("token", [None, "made-up"])
    def test_401_names_the_scopes_of_the_route(self, token):
        said = challenge(self.ask(token))
        assert said["scope"] == "payments:read reports:read"
        assert said["resource_metadata"] == METADATA

    def test_403_names_the_scopes_of_the_route(self):
        said = challenge(self.ask(mint_key(scopes=["payments:read"]).token))
        assert (said["error"], said["resource_metadata"]) == ("insufficient_scope", METADATA)
        assert said["scope"] == "payments:read reports:read"

    def test_gateway_url_is_the_resource(self, settings):
        settings.APIKEYS = settings.APIKEYS | {"GATEWAY_URL": "https://gateway.example/"}
        url = "https://gateway.example/.well-known/oauth-protected-resource"
        assert challenge(self.ask())["resource_metadata"] == url

    def test_unreadable_target_has_no_scope(self, rf):
        from apikeys.drf.exceptions import refuse
        from apikeys.refusals import NOT_AUTHENTICATED

        headers = refusal_headers(refuse(NOT_AUTHENTICATED), rf.get("/"), "GET", "/%2e%2e/x")
        assert "scope=" not in headers["WWW-Authenticate"]


class TestOpenID:
    URLS = ["/o/.well-known/openid-configuration", "/.well-known/openid-configuration/o"]

    @pytest.mark.parametrize("url", URLS)
    def test_is_described_if_the_site_declares_openid(self, url, settings):
        assert Client().get(url).status_code == 404
        scopes = settings.APIKEYS["SCOPES"] | {"openid": "Log in to other sites"}
        settings.APIKEYS = settings.APIKEYS | {"SCOPES": scopes}

        found = Client().get(url).json()
        server = Client().get("/.well-known/oauth-authorization-server/o").json()
        assert found.items() >= server.items()
        assert found["userinfo_endpoint"] == "http://testserver/o/userinfo/"
        assert {"openid", "payments:read"} <= set(found["scopes_supported"])
        assert not {"keys:read", "keys:write"} & set(found["scopes_supported"])
        assert Client().get("/.well-known/openid-configuration/evil").status_code == 404

        settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"OIDC_ENABLED": False}
        assert Client().get(url).status_code == 404


def test_documented_header_is_what_is_sent():
    (documented,) = blocks("docs/reference/oauth.md", "http")
    response = Client().get("/drf/", headers={"Host": "testserver"})
    header = response["WWW-Authenticate"].replace("http://testserver", "https://api.example.com")
    header = header.replace("payments:write", "payments:read")
    assert documented.strip() == f"WWW-Authenticate: {header}"
