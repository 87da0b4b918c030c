"""Plain Django views, sync and async, and django-ninja: taken and refused as DRF's are."""

import asyncio

import pytest
from django.http import HttpResponse, JsonResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from ninja import NinjaAPI

from apikeys import lifecycle, verify
from apikeys.http import require_scopes
from apikeys.ninja import KeyAuth
from apikeys.policy import Policy
from apikeys.refusals import Refused
from tests.factories import bearer, mint_key, mint_pat
from tests.server_urls import Plain

pytestmark = pytest.mark.urls(__name__)


@require_scopes("payments:read")
def plain(request):
    return JsonResponse({"id": request.auth.credential_id, "user": str(request.user)})


@require_scopes("payments:read")
async def plain_async(request):
    return JsonResponse({"id": request.auth.credential_id, "user": str(request.user)})


@method_decorator(require_scopes("payments:read"), name="dispatch")
class OfClass(View):
    def get(self, request):
        return JsonResponse({"id": request.auth.credential_id, "user": str(request.user)})


@method_decorator(require_scopes("payments:read"), name="dispatch")
class AsyncOfClass(View):
    async def get(self, request):
        return JsonResponse({"id": request.auth.credential_id, "user": str(request.user)})


def open_to_all(request):
    auth = getattr(request, "auth", "none was set")
    return HttpResponse(f"{getattr(auth, 'credential_id', auth)} {request.user.is_authenticated}")


api = NinjaAPI()


@api.get("/sync", auth=KeyAuth("payments:read"))
def ninja_sync(request):
    return {"id": request.auth.credential_id, "user": str(request.user)}


@api.get("/async", auth=KeyAuth("payments:read"))
async def ninja_async(request):
    return {"id": request.auth.credential_id, "user": str(request.user)}


urlpatterns = [
    path("drf/", Plain.as_view()),
    path("plain/", plain),
    path("async/", plain_async),
    path("class/", OfClass.as_view()),
    path("async-class/", AsyncOfClass.as_view()),
    path("open/", open_to_all),
    path("ninja/", api.urls),
]

PATHS = ["/plain/", "/async/", "/class/", "/async-class/", "/ninja/sync", "/ninja/async"]


@pytest.fixture(params=["sync", "async"])
def get(request, transactional_db):
    """A GET over WSGI's handler, and over ASGI's."""

    def sync(where, headers):
        return Client().get(where, headers=headers)

    def over_asgi(where, headers):
        return asyncio.run(AsyncClient().get(where, headers=headers))

    return sync if request.param == "sync" else over_asgi


def told(response):
    names = ("WWW-Authenticate", "Retry-After")
    return response.status_code, response.json(), [response.headers.get(name) for name in names]


@pytest.mark.parametrize("where", PATHS)
def test_a_credential_is_taken(get, where):
    pat, key = mint_pat(), mint_key()

    response = get(where, bearer(pat.token))
    assert response.status_code == 200
    assert response.json() == {"id": pat.key.public_id, "user": str(pat.key.user)}
    assert get(where, bearer(key.token)).json()["user"] == f"project:{key.key.project.slug}"


@pytest.mark.parametrize("where", PATHS)
def test_refusals_are_those_of_drf(get, where):
    revoked = mint_pat()
    lifecycle.revoke(revoked.key)
    headers = [
        {},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer two words"},
        bearer("acme_pat_mistyped"),
        bearer("no-such-token"),
        bearer(revoked.token),
        bearer(mint_pat(scopes=["reports:read"]).token),
    ]

    answers = [told(get(where, each)) for each in headers]

    assert answers == [told(get("/drf/", each)) for each in headers]
    assert [status for status, *_ in answers] == [401, 401, 400, 401, 401, 401, 403]
    assert [body["code"] for _, body, _ in answers[-2:]] == ["revoked_key", "insufficient_scope"]


@pytest.mark.parametrize("make", [require_scopes, KeyAuth])
@pytest.mark.parametrize("scopes", [(), (len,)])
def test_a_guard_without_a_scope_is_a_mistake(make, scopes):
    with pytest.raises(TypeError, match="takes the scopes"):
        make(*scopes)


@pytest.fixture
def middleware(settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "apikeys.http.BearerMiddleware"]


def test_the_middleware_tells_views_who_it_is(middleware, get):
    minted = mint_pat()

    response = get("/open/", bearer(minted.token))

    # No view that asks for a logged-in user alone lets a key in.
    assert response.content.decode() == f"{minted.key.public_id} False"
    assert get("/open/", {}).content.decode() == "None False"


def test_the_middleware_refuses_a_bad_credential(middleware, get):
    answer = told(get("/open/", bearer("acme_pat_mistyped")))

    assert answer == told(get("/drf/", bearer("acme_pat_mistyped")))


@pytest.mark.parametrize("where", PATHS)
def test_behind_the_middleware_a_guard_asks_for_its_scopes(middleware, get, where):
    assert get(where, bearer(mint_pat().token)).status_code == 200
    narrow = bearer(mint_pat(scopes=["reports:read"]).token)
    assert told(get(where, narrow))[1]["code"] == "insufficient_scope"


def test_a_kept_key_is_verified_in_the_event_loop_itself(transactional_db, settings, monkeypatch):
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"TIMEOUT": 60}}
    minted = mint_pat()
    verify.verify(minted.token)

    def fail(*args, **kwargs):
        raise AssertionError("a thread was asked")

    monkeypatch.setattr(verify, "sync_to_async", fail)

    assert asyncio.run(verify.averify(minted.token)).user == minted.key.user


class Querying(Policy):
    def allowed_networks(self, owner):
        return ["192.0.2.0/24"] if owner.groups.exists() else []


def test_a_policy_that_makes_a_query_is_asked_in_a_thread(transactional_db, settings):
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"TIMEOUT": 60}, "POLICY": Querying}
    minted = mint_pat()
    verify.verify(minted.token)
    request = RequestFactory().get("/", REMOTE_ADDR="203.0.113.7")

    assert asyncio.run(verify.averify(minted.token, request)).user == minted.key.user

    minted.key.user.groups.create(name="of the house")
    with pytest.raises(Refused, match="ip_not_allowed"):
        asyncio.run(verify.averify(minted.token, request))


def test_ninjas_schema_says_bearer():
    schemes = api.get_openapi_schema()["components"]["securitySchemes"]

    assert schemes["KeyAuth"] == {"type": "http", "scheme": "bearer"}
