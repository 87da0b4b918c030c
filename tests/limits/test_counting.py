"""Every adapter enforces rate limits in the same way, and a request is counted once."""

import asyncio
import json
import sys

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, connection
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory
from django.urls import path
from django.utils.decorators import method_decorator
from rest_framework.response import Response

from apikeys import refusals
from apikeys.access import Access
from apikeys.gateway.views import aauthorize
from apikeys.http import require_scopes
from apikeys.limits import counting
from apikeys.policy import Policy
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests import adapters
from tests.adapters import VIEWS
from tests.factories import bearer, mint_key, mint_pat
from tests.signing import caller

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

FIELDS = ("RateLimit-Policy", "RateLimit", "Retry-After", "WWW-Authenticate")


@method_decorator(require_scopes("payments:read"), name="dispatch")
class Both(adapters.View):
    """A view with two guards, such as a decorator around a view of Django REST framework."""

    def get(self, request):
        return Response({"user": str(request.user)})


urlpatterns = [*adapters.urlpatterns, path("both/", Both.as_view())]

ALL = [*VIEWS.values(), "/both/"]


@pytest.fixture(autouse=True)
def nothing_counted():
    counting._make_limiter.cache_clear()
    yield
    counting._make_limiter.cache_clear()


@pytest.fixture
def middleware(settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "apikeys.http.BearerMiddleware"]


@pytest.fixture(params=["wsgi", "asgi"])
def get(request):
    if request.param == "wsgi":
        return lambda where, text: Client().get(where, headers=bearer(text))
    return lambda where, text: async_to_sync(AsyncClient().get)(where, headers=bearer(text))


@pytest.fixture
def get_by(get, settings):
    """Call like ``get``, with the middleware installed for the view behind it."""
    plain = settings.MIDDLEWARE

    def ask(where, text):
        more = ["apikeys.http.BearerMiddleware"] if where == VIEWS["middleware"] else []
        settings.MIDDLEWARE = [*plain, *more]
        return get(where, text)

    return ask


def told(response):
    return response.status_code, [response.headers.get(name) for name in FIELDS]


@pytest.mark.parametrize("where", ALL)
def test_every_adapter_enforces_a_limit_with_the_same_response(get_by, where):
    minted = mint_pat(rate_limits=["2/hour"])

    first, second, third = (get_by(where, minted.token) for _ in range(3))

    assert [each.status_code for each in (first, second, third)] == [200, 200, 429]
    assert first["RateLimit-Policy"] == second["RateLimit-Policy"] == '"2/hour";q=2;w=3600'
    assert first["RateLimit"] == '"2/hour";r=1;t=3600'
    assert second["RateLimit"].startswith('"2/hour";r=0;t=3')
    assert third.json()["code"] == "rate_limited"
    assert 3590 <= int(third["Retry-After"]) <= 3600
    assert third["RateLimit"] == f'"2/hour";r=0;t={third["Retry-After"]}'
    assert third["RateLimit-Policy"] == first["RateLimit-Policy"]
    assert "WWW-Authenticate" not in third
    assert third["Cache-Control"] == "private"


@pytest.mark.parametrize("where", ALL)
def test_a_request_that_several_adapters_see_is_counted_once(get, middleware, where):
    minted = mint_key(rate_limits=["2/hour"])

    answers = [get(where, minted.token) for _ in range(3)]

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert answers[0]["RateLimit"].startswith('"2/hour";r=1;')


@pytest.mark.slow
def test_all_adapters_share_one_counter(get_by):
    minted = mint_pat(rate_limits=["5/hour"])
    wheres = list(VIEWS.values())[:5]

    assert [get_by(where, minted.token).status_code for where in wheres] == [200] * 5
    assert {get_by(where, minted.token).status_code for where in VIEWS.values()} == {429}


@pytest.mark.parametrize("where", [w for w in ALL if w != VIEWS["middleware"]])
def test_a_request_without_the_scope_is_not_counted(get, where):
    minted = mint_pat(scopes=["reports:read"], rate_limits=["1/hour"])

    answers = [get(where, minted.token) for _ in range(3)]

    assert [each.status_code for each in answers] == [403, 403, 403]
    assert "RateLimit" not in answers[0]


@pytest.mark.parametrize("where", ALL)
def test_a_credential_without_limits_gets_no_ratelimit_headers(get_by, where):
    response = get_by(where, mint_pat().token)

    assert response.status_code == 200
    assert "RateLimit" not in response


class Strict(Policy):
    def rate_limits(self, access):
        return ["1/hour"]


class Querying(Policy):
    """A policy that queries its limits, even for async views."""

    def rate_limits(self, access):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return ["1/hour"]


@pytest.mark.parametrize("policy", [Strict, Querying])
@pytest.mark.parametrize("where", ALL)
def test_every_adapter_enforces_the_limit_of_a_policy(get_by, settings, where, policy):
    minted = mint_pat()
    settings.APIKEYS = settings.APIKEYS | {"POLICY": policy}

    assert [get_by(where, minted.token).status_code for _ in range(2)] == [200, 429]


AWAY = "redis://127.0.0.1:1/0"
#: One that connects when it is made.
CLUSTER_AWAY = "redis+cluster://127.0.0.1:1"


class Away(Policy):
    """A policy that depends on another server, which does not answer."""

    error: Exception = OperationalError("connection refused")

    def rate_limits(self, access):
        raise self.error


class AwayByNetwork(Away):
    error = ConnectionError("connection refused")


class AwayForProjects(Policy):
    def project_allows(self, project, scopes):
        raise OperationalError("connection refused")


@pytest.mark.parametrize("policy", [Away, AwayByNetwork])
@pytest.mark.parametrize("where", ALL)
def test_every_adapter_refuses_during_an_outage_of_the_policy(get_by, settings, where, policy):
    minted = mint_key()
    settings.APIKEYS = settings.APIKEYS | {"POLICY": policy}

    response = get_by(where, minted.token)

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.json()["code"] == "temporarily_unavailable"


@pytest.mark.parametrize("where", [each for each in ALL if each != VIEWS["middleware"]])
def test_an_outage_of_project_allows_is_refused(get, settings, where):
    minted = mint_key()
    settings.APIKEYS = settings.APIKEYS | {"POLICY": AwayForProjects}

    response = get(where, minted.token)

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.json()["code"] == "temporarily_unavailable"


ROUTES = [{"method": "GET", "path": "/offers/", "scopes": ["payments:read"]}]


@pytest.fixture(params=["endpoint", "endpoint, asgi"])
def decide(request):
    headers = {"X-Original-Method": "GET", "X-Original-URI": "/offers/"}
    if request.param == "endpoint":
        return lambda text: Client().get("/gateway/authorize/", headers=headers | bearer(text))
    make = AsyncRequestFactory().get
    return lambda text: async_to_sync(aauthorize)(make("/", headers=headers | bearer(text)))


@pytest.mark.parametrize("policy", [Away, AwayByNetwork, AwayForProjects])
@pytest.mark.parametrize("more", [{}, {"CACHE": {"TIMEOUT": 60}, "RATE_LIMIT_STORE": AWAY}])
def test_the_gateway_refuses_during_an_outage_of_the_policy(decide, settings, policy, more):
    minted = mint_key()
    gateway = {"GATEWAY_ROUTES": ROUTES, "GATEWAY_MAX_AGE": 60}
    settings.APIKEYS = settings.APIKEYS | gateway | more | {"POLICY": policy}
    verify(minted.token)

    response = decide(minted.token)

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert json.loads(response.content)["code"] == "temporarily_unavailable"


def test_a_decision_limited_by_a_querying_policy_is_not_cached(decide, settings):
    minted = mint_key()
    gateway = {"GATEWAY_ROUTES": ROUTES, "GATEWAY_MAX_AGE": 60, "CACHE": {"TIMEOUT": 60}}
    settings.APIKEYS = settings.APIKEYS | gateway | {"POLICY": Querying}
    verify(minted.token)

    response, refused = decide(minted.token), decide(minted.token)

    assert [response.status_code, refused.status_code] == [200, 429]
    assert response["Cache-Control"] == "no-store"
    assert "X-Accel-Expires" not in response


@pytest.mark.parametrize("store", [AWAY, CLUSTER_AWAY])
@pytest.mark.parametrize("where", ALL)
def test_every_adapter_refuses_during_an_outage_of_the_store(get_by, settings, where, store):
    minted = mint_pat(rate_limits=["9/hour"])
    settings.APIKEYS = settings.APIKEYS | {"RATE_LIMIT_STORE": store}

    response = get_by(where, minted.token)

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.json()["code"] == "rate_limit_unavailable"


@pytest.mark.parametrize("store", [AWAY, CLUSTER_AWAY])
@pytest.mark.parametrize("where", ALL)
def test_a_setting_allows_uncounted_requests(get_by, settings, where, store):
    minted = mint_pat(rate_limits=["1/hour"])
    settings.APIKEYS = settings.APIKEYS | {"RATE_LIMIT_STORE": store, "RATE_LIMIT_FAIL_OPEN": True}

    assert [get_by(where, minted.token).status_code for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("where", ALL)
def test_without_the_package_a_limited_key_is_refused(get_by, monkeypatch, caplog, where):
    minted = mint_pat(rate_limits=["9/hour"])
    for name in ("limits", "limits.storage", "limits.strategies"):
        monkeypatch.setitem(sys.modules, name, None)
    counting._item.cache_clear()

    response = get_by(where, minted.token)

    assert (response.status_code, response.json()["code"]) == (503, "rate_limit_unavailable")
    assert "pip install" in caplog.text


def test_parallel_requests_are_counted_separately(settings):
    minted = mint_pat(rate_limits=["3/hour"])

    async def both():
        get = AsyncClient().get
        asked = (get("/plain-async/", headers=bearer(minted.token)) for _ in range(6))
        return [each.status_code for each in await asyncio.gather(*asked)]

    assert sorted(async_to_sync(both)()) == [200] * 3 + [429] * 3


def test_two_credentials_of_one_request_are_both_counted():
    one, other = (
        Access("project_key", name, "", "payments:read", rate_limits="1/hour") for name in "ab"
    )
    request = RequestFactory().get("/")

    for access in (one, other, one):
        assert counting.spend(access, request)["RateLimit"].startswith('"1/hour";r=0;')
    for access in (one, other):
        with pytest.raises(Refused) as refused:
            counting.spend(access, RequestFactory().get("/"))
        assert refused.value.refusal is refusals.RATE_LIMITED


def test_a_key_and_its_tokens_share_one_counter(client):
    minted = mint_key(rate_limits=["2/hour"])
    form = {
        "grant_type": "client_credentials",
        "client_id": minted.key.public_id,
        "client_secret": minted.token,
    }
    token = client.post("/o/token/", form).json()["access_token"]

    answers = [
        client.get("/plain/", headers=bearer(text))
        for text in (minted.token, token, minted.token, token)
    ]

    assert [each.status_code for each in answers] == [200, 200, 429, 429]


def test_counts_as_use_false_counts_nothing(client):
    minted = mint_key(rate_limits=["1/hour"], expires_at=None)
    for _ in range(3):
        assert verify(minted.token, counts_as_use=False).rate_limits == "1/hour"

    assert client.get("/plain/", headers=bearer(minted.token)).status_code == 200


@pytest.mark.parametrize("where", ALL)
def test_a_signature_that_several_adapters_see_is_used_once(client, middleware, where):
    request = caller().sign("GET", f"http://testserver{where}")

    assert client.get(where, headers=dict(request.headers)).status_code == 200
    replayed = client.get(where, headers=dict(request.headers))
    assert (replayed.status_code, replayed.json()["code"]) == (401, "replayed_signature")
