"""Plain Django views, sync and async, and django-ninja: taken and refused as DRF's are."""

import asyncio
import gc
from contextlib import contextmanager

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import OperationalError, ProgrammingError, connection
from django.db.backends.utils import CursorWrapper
from django.http import HttpResponse, JsonResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from ninja import NinjaAPI
from rest_framework.response import Response

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


def slugs(request):
    return {"projects": [project.slug for project in request.auth.projects()]}


@require_scopes("payments:read")
def projects(request):
    return JsonResponse(slugs(request))


@require_scopes("payments:read")
async def projects_async(request):
    return JsonResponse(await sync_to_async(slugs)(request))


class Projects(Plain):
    def get(self, request):
        return Response(slugs(request))


def projects_open(request):
    return JsonResponse({"count": Group.objects.count()})


@require_scopes("payments:read")
def write(request):
    Group.objects.create(name="half of it")
    raise OperationalError("database is locked")


class Write(Plain):
    def get(self, request):
        Group.objects.create(name="half of it")
        raise OperationalError("database is locked")


@api.get("/projects", auth=KeyAuth("payments:read"))
def ninja_projects(request):
    return slugs(request)


@api.get("/projects-async", auth=KeyAuth("payments:read"))
async def ninja_projects_async(request):
    return await sync_to_async(slugs)(request)


@api.get("/projects-open")
def ninja_projects_open(request):
    return {"count": Group.objects.count()}


@api.get("/projects-write", auth=KeyAuth("payments:read"))
def ninja_write(request):
    Group.objects.create(name="half of it")
    raise OperationalError("database is locked")


urlpatterns = [
    path("projects/plain/", projects),
    path("projects/async/", projects_async),
    path("projects/drf/", Projects.as_view()),
    path("projects/open/", projects_open),
    path("projects/write/", write),
    path("projects/drf-write/", Write.as_view()),
    path("drf/", Plain.as_view()),
    path("plain/", plain),
    path("async/", plain_async),
    path("class/", OfClass.as_view()),
    path("async-class/", AsyncOfClass.as_view()),
    path("open/", open_to_all),
    path("ninja/", api.urls),
]

PROJECTS = [
    "/projects/plain/",
    "/projects/async/",
    "/projects/drf/",
    "/ninja/projects",
    "/ninja/projects-async",
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
    with pytest.raises(TypeError, match="needs at least one scope"):
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


@contextmanager
def every_query_raising(error):
    def fail(self, *args, **kwargs):
        raise error

    gc.freeze()  # the collection at the end need not look at what is there by now
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CursorWrapper, "execute", fail)
        try:
            yield
        finally:
            gc.collect()  # a connection that Django dropped warns here, and not in another test


# Where every query fails, Django drops a connection that it has just made without closing it.
@pytest.mark.filterwarnings("ignore:.*psycopg.Connection:ResourceWarning")
class TestWithTheDatabaseAwayAndTheCredentialInMemory:
    @pytest.fixture(autouse=True)
    def minted(self, transactional_db, settings):
        settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"TIMEOUT": 60}}
        minted = mint_pat()
        verify.verify(minted.token)
        return minted

    @pytest.fixture
    def away(self, minted):
        with every_query_raising(OperationalError("connection refused")):
            yield

    @pytest.mark.parametrize("where", [*PATHS, "/drf/"])
    def test_a_view_that_needs_no_database_answers(self, get, minted, away, where):
        assert get(where, bearer(minted.token)).status_code == 200

    @pytest.mark.parametrize("where", PROJECTS)
    def test_a_view_that_reads_the_projects_answers_503(self, get, minted, away, caplog, where):
        status, body, (_challenge, retry_after) = told(get(where, bearer(minted.token)))
        assert (status, body["code"], retry_after) == (503, "temporarily_unavailable", "5")
        assert "connection refused" in caplog.text
        assert minted.token not in caplog.text

    @pytest.mark.parametrize("where", PROJECTS)
    def test_a_bug_of_the_view_is_raised(self, get, minted, where):
        error = ProgrammingError("no such column")
        with every_query_raising(error), pytest.raises(ProgrammingError):
            get(where, bearer(minted.token))

    def test_a_request_without_a_credential_is_answered_as_before(
        self, get, middleware, away, settings
    ):
        settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if "Outage" not in each]
        with pytest.raises(OperationalError):
            get("/projects/open/", {})
        with pytest.raises(OperationalError):
            get("/ninja/projects-open", {})

    def test_the_middleware_answers_503_for_every_view(self, get, middleware, minted, away):
        status, body, _ = told(get("/projects/open/", bearer(minted.token)))
        assert (status, body["code"]) == (503, "temporarily_unavailable")

    def test_what_the_request_wrote_is_rolled_back(self, minted, monkeypatch):
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        for where in ("/projects/write/", "/projects/drf-write/", "/ninja/projects-write"):
            answer = Client().get(where, headers=bearer(minted.token))
            assert answer.status_code == 503
            assert not Group.objects.exists()
