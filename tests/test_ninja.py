"""django-ninja with several authenticators, sync and async."""

import pytest
from django.http import JsonResponse
from django.test import Client
from django.urls import path
from ninja import NinjaAPI
from ninja.errors import AuthenticationError
from ninja.security import APIKeyHeader, HttpBasicAuth

from apikeys.ninja import Denied, KeyAuth
from tests.factories import bearer, mint_pat

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

SCOPE = "payments:read"


class Other(APIKeyHeader):
    param_name = "X-Other"

    def authenticate(self, request, key):
        return "other" if key == "good" else None


class Basic(HttpBasicAuth):
    def authenticate(self, request, username, password):
        return "basic" if password == "good" else None


def make(api):
    orders = {
        "first": [KeyAuth(SCOPE), Other()],
        "last": [Other(), KeyAuth(SCOPE)],
        "twice": [KeyAuth(SCOPE), KeyAuth("reports:read"), Other()],
        "basic": [KeyAuth(SCOPE), Basic()],
    }
    for name, auth in orders.items():

        @api.get(f"/{name}", auth=auth, url_name=f"sync-{name}")
        def sync(request):
            return {"auth": str(getattr(request.auth, "kind", request.auth))}

        @api.get(f"/async-{name}", auth=auth, url_name=f"async-{name}")
        async def asynchronous(request):
            return {"auth": str(getattr(request.auth, "kind", request.auth))}

    @api.get("/other", auth=Other())
    def other(request):
        return {}

    return api


api = make(NinjaAPI(urls_namespace="several"))
own = make(NinjaAPI(urls_namespace="several-own"))


@own.exception_handler(AuthenticationError)
def teapot(request, error):
    return JsonResponse({"own": True}, status=418)


@own.exception_handler(Denied)
def denied(request, error):
    return JsonResponse({"own": error.refusal.code}, status=419)


urlpatterns = [path("n/", api.urls), path("own/", own.urls)]

PATHS = [f"{kind}{name}" for kind in ("", "async-") for name in ("first", "last", "twice")]


def ask(where, **headers):
    return Client().get(f"/n/{where}", headers=headers)


@pytest.mark.parametrize("where", PATHS)
def test_the_next_authenticator_is_tried_without_a_credential(where):
    assert ask(where, **{"X-Other": "good"}).json() == {"auth": "other"}
    assert ask(where, **bearer(mint_pat().token)).json() == {"auth": "personal_access_token"}


@pytest.mark.parametrize("where", PATHS)
def test_a_request_without_a_credential_gets_a_challenge(where):
    for headers in ({}, {"X-Other": "bad"}):
        response = ask(where, **headers)
        assert response.status_code == 401
        assert response["WWW-Authenticate"] == 'Bearer realm="api"'


@pytest.mark.parametrize("where", PATHS)
def test_a_refused_credential_ends_the_request(where):
    both = {"X-Other": "good"}
    bad = bearer("acme_pat_mistyped") | (both if "last" not in where else {})
    assert ask(where, **bad).json()["code"] == "malformed_key"
    poor = bearer(mint_pat(scopes=["keys:read"]).token)
    assert ask(where, **poor).json()["code"] == "insufficient_scope"


@pytest.mark.parametrize("where", ["basic", "async-basic"])
def test_a_header_of_another_scheme_goes_to_the_next_authenticator(where):
    assert ask(where, Authorization="Basic YTpnb29k").json() == {"auth": "basic"}
    assert ask(where, Authorization="Basic YTpiYWQ=").status_code == 401


def test_operations_without_keyauth_are_unchanged():
    ask("first")
    response = ask("other")
    assert (response.status_code, response.json()) == (401, {"detail": "Unauthorized"})
    assert "WWW-Authenticate" not in response


def test_custom_handlers_of_the_site_stay():
    assert Client().get("/own/first").status_code == 418
    assert Client().get("/own/last").json() == {"own": "not_authenticated"}


def test_called_without_an_operation_it_returns_none(rf):
    assert KeyAuth(SCOPE)(rf.get("/")) is None
