"""Every view says whether it takes a logged-in user, for ``LoginRequiredMiddleware``."""

import sys
from importlib import import_module
from types import ModuleType

import pytest
from django.urls import URLPattern, get_script_prefix
from oauth2_provider.models import Application

from tests.adapters import VIEWS
from tests.documents import blocks
from tests.factories import bearer, mint_pat

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.adapters")]

GUIDE = "docs/how-to/protect-a-view.md"

#: Our URLconfs, and whether their views are for people in a browser.
MODULES = {
    "apikeys.api.urls": False,
    "apikeys.gateway.urls": False,
    "apikeys.gateway.api_urls": False,
    "apikeys.oauth.urls": False,
    "apikeys.oauth.well_known": False,
    "apikeys.web.urls": True,
    "apikeys.oauth.pages.urls": True,
}
#: The pages among the OAuth endpoints. `authorize` asks for a log-in itself, or does not.
PAGES = {"device", "device-confirm", "device-grant-status"}


def patterns(module):
    def walk(found):
        for each in found:
            if isinstance(each, URLPattern):
                yield each
            else:
                yield from walk(each.url_patterns)

    return walk(import_module(module).urlpatterns)


VIEWS_OF_OURS = [
    pytest.param(each, browser, id=f"{module}:{each.name or each.pattern}")
    for module, browser in MODULES.items()
    for each in patterns(module)
]


@pytest.mark.parametrize(("pattern", "browser"), VIEWS_OF_OURS)
def test_every_view_says_whether_it_needs_a_login(pattern, browser):
    needs = getattr(pattern.callback, "login_required", "not said")

    assert needs is (browser or pattern.name in PAGES)


@pytest.fixture
def strict(settings):
    """A site on which every view needs a login unless it says otherwise."""
    name = "django.contrib.auth.middleware.AuthenticationMiddleware"
    after = settings.MIDDLEWARE.index(name) + 1
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE[:after],
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
        *settings.MIDDLEWARE[after:],
    ]


def addresses():
    """Every URL of ours, with something in the place of each parameter."""
    filled = {"id": "0" * 16, "key_id": "0" * 16, "pk": "1", "kind": "pat", "slug": "engine"}
    prefixes = {
        "apikeys.api.urls": "api/",
        "apikeys.gateway.urls": "gateway/",
        "apikeys.gateway.api_urls": "api/",
        "apikeys.oauth.urls": "o/",
        "apikeys.oauth.well_known": "",
    }
    for module, prefix in prefixes.items():
        for pattern in patterns(module):
            route = str(pattern.pattern)
            if pattern.name in {*PAGES, "authorize"} or route.startswith("^"):
                continue
            for name, value in {
                **filled,
                "client_id": "x",
                "issuer_path": "o",
                "resource_path": "o",
            }.items():
                for converter in ("str:", "int:", "slug:", "path:"):
                    route = route.replace(f"<{converter}{name}>", value)
            assert "<" not in route
            yield get_script_prefix() + prefix + route


@pytest.mark.slow
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options", "head"])
def test_no_endpoint_redirects_to_the_login_page(strict, client, method):
    client.raise_request_exception = False
    for where in addresses():
        for headers in ({}, bearer("no-such-token"), bearer(mint_pat().token)):
            response = getattr(client, method)(where, headers=headers)
            assert response.status_code not in (301, 302, 500), (method, where, response)


@pytest.mark.parametrize("where", [v for k, v in VIEWS.items() if k[:5] not in ("ninja", "middl")])
def test_a_view_for_credentials_answers_401_in_json(strict, client, where):
    refused = client.get(where)

    assert (refused.status_code, refused.json()["code"]) == (401, "not_authenticated")
    assert client.get(where, headers=bearer(mint_pat().token)).status_code == 200


@pytest.mark.parametrize("where", [v for k, v in VIEWS.items() if k[:5] == "ninja"])
def test_a_ninja_view_answers_with_the_middleware_of_the_guide(
    strict, client, monkeypatch, settings, where
):
    (code,) = (each for each in blocks(GUIDE, "python") if "class LoginRequired(" in each)
    guide = ModuleType("guide_middleware")
    exec(code, guide.__dict__)
    monkeypatch.setitem(sys.modules, guide.__name__, guide)
    settings.MIDDLEWARE = [
        each.replace(
            "django.contrib.auth.middleware.LoginRequiredMiddleware",
            f"{guide.__name__}.LoginRequired",
        )
        for each in settings.MIDDLEWARE
    ]

    assert client.get(where).status_code == 401
    assert client.get(where, headers=bearer(mint_pat().token)).status_code == 200
    assert client.get("/settings/keys/").status_code == 302


@pytest.mark.parametrize(
    "where",
    [
        "/settings/keys/",
        "/settings/keys/new/",
        "/settings/keys/projects/engine/",
        "/settings/keys/approvals/",
        "/settings/keys/unused/",
        "/settings/applications/",
        "/settings/applications/own/new/",
        "/o/device/",
        "/o/device-confirm/x/ABCD",
        "/o/device-grant-status/x/ABCD",
    ],
)
def test_a_page_leads_to_the_login_page_and_back(strict, client, where):
    response = client.get(where)

    assert (response.status_code, response["Location"]) == (302, f"/login/?next={where}")


def authorize(client, **more):
    Application.objects.create(
        client_id="site",
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris="https://client.example/callback",
    )
    query = {
        "client_id": "site",
        "response_type": "code",
        "redirect_uri": "https://client.example/callback",
        "scope": "payments:read",
        "state": "s",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    }
    return client.get("/o/authorize/", query | more)


def test_a_client_that_asks_for_no_prompt_hears_that_a_login_is_needed(strict, client):
    response = authorize(client, prompt="none")

    assert response.status_code == 302
    assert response["Location"].startswith("https://client.example/callback?")
    assert "error=login_required" in response["Location"]


def test_an_authorization_leads_to_the_login_page(strict, client):
    response = authorize(client)

    assert response.status_code == 302
    assert response["Location"].startswith("/login/?next=/o/authorize/")
