"""Django's cache middleware and decorators, wherever a site puts them, keep no answer to a key."""

import io
import json

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.http import Http404, HttpResponse, JsonResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_control, cache_page
from ninja import NinjaAPI
from rest_framework.authentication import SessionAuthentication
from rest_framework.response import Response

from apikeys import lifecycle
from apikeys.drf import BearerAuthentication
from apikeys.http import require_scopes, shared_caches
from apikeys.ninja import KeyAuth
from tests import adapters
from tests.adapters import SCOPE, VIEWS
from tests.factories import ProjectFactory, UserFactory, bearer, mint_pat

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

ONE, OTHER = "K1-abcdefghijklmnopqrstuvwxyz012345", "K2-abcdefghijklmnopqrstuvwxyz012345"


@require_scopes(SCOPE)
@cache_page(60)
def inside(request):
    return JsonResponse({"user": str(request.user)})


@require_scopes(SCOPE)
@cache_page(60)
async def inside_async(request):
    return JsonResponse({"user": str(request.user)})


class Inside(adapters.View):
    @method_decorator(cache_page(60))
    def get(self, request):
        return JsonResponse({"user": str(request.user)})


class InsideUnrendered(adapters.View):
    @method_decorator(cache_page(60))
    def get(self, request):
        return Response({"user": str(request.user)})


@cache_page(60)
@cache_control(public=True, max_age=60)
@require_scopes(SCOPE)
def public(request):
    return JsonResponse({"user": str(request.user)})


class SessionsFirst(adapters.View):
    authentication_classes = [SessionAuthentication, BearerAuthentication]


@require_scopes(SCOPE)
def missing(request):
    raise Http404


@require_scopes(SCOPE)
async def forbidden(request):
    raise PermissionDenied


class Subclass(KeyAuth):
    def __call__(self, request):
        return super().__call__(request)


ninja = NinjaAPI(urls_namespace="site-cache")


@ninja.get("/subclass", auth=Subclass(SCOPE))
def subclass(request):
    return {"user": str(request.user)}


@ninja.get("/function", auth=lambda request: KeyAuth(SCOPE)(request))
def function(request):
    return {"user": str(request.user)}


urlpatterns = [
    *adapters.urlpatterns,
    path("inside/", inside),
    path("inside-async/", inside_async),
    path("inside-drf/", Inside.as_view()),
    path("inside-unrendered/", InsideUnrendered.as_view()),
    path("public/", public),
    path("sessions-first/", SessionsFirst.as_view()),
    path("sessions-first-cached/", cache_page(60)(SessionsFirst.as_view())),
    path("missing/", missing),
    path("forbidden/", forbidden),
    path("own-ninja/", ninja.urls),
]


@pytest.fixture(autouse=True)
def site(settings):
    legacy = {"csv": {"UNTIL": "2030-01-01", "HEADER": "X-Api-Key"}}
    settings.APIKEYS = settings.APIKEYS | {"LEGACY": legacy}
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()


@pytest.fixture
def imported(tmp_path):
    """Keys of two projects, in a header on which Django itself does not vary."""
    rows = [f"{ONE},one,one,{SCOPE}", f"{OTHER},other,other,{SCOPE}"]
    for slug in ("one", "other"):
        ProjectFactory(slug=slug)
    file = tmp_path / "keys.csv"
    file.write_text("\n".join(["key,name,project,scopes", *rows]))
    call_command("apikeys", "import", "--from", "csv", str(file), stdout=io.StringIO())


def user(response):
    assert response.status_code == 200
    return json.loads(response.content)["user"]


INSIDE = ["/inside/", "/inside-async/", "/inside-drf/", "/inside-unrendered/", "/public/"]


@pytest.mark.parametrize("where", INSIDE)
def test_a_cache_inside_of_the_guard_keeps_nothing_for_the_next_key(imported, where):
    for text, name in ((ONE, "project:one"), (OTHER, "project:other")):
        assert user(Client().get(where, headers={"X-Api-Key": text})) == name
    assert Client().get(where).status_code == 401


@pytest.mark.parametrize("where", ["/inside-async/", "/inside/"])
def test_a_cache_inside_of_the_guard_keeps_nothing_over_asgi(imported, where):
    for text, name in ((ONE, "project:one"), (OTHER, "project:other")):
        response = async_to_sync(AsyncClient().get)(where, headers={"X-Api-Key": text})
        assert user(response) == name


def test_a_public_around_the_guard_keeps_nothing_for_a_revoked_key():
    minted = mint_pat()
    assert Client().get("/public/", headers=bearer(minted.token)).status_code == 200

    lifecycle.revoke(minted.key)

    assert Client().get("/public/", headers=bearer(minted.token)).status_code == 401


class Rescue:
    """Middleware of a site that turns an exception of a view into an answer."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, error):
        return HttpResponse(f"{error!r} for {request.user}")


@pytest.fixture
def around(settings):
    """Django's cache around the site, with more middleware before it and behind it."""

    def install(before=(), behind=()):
        update = "django.middleware.cache.UpdateCacheMiddleware"
        fetch = "django.middleware.cache.FetchFromCacheMiddleware"
        settings.MIDDLEWARE = [*before, update, *settings.MIDDLEWARE, *behind, fetch]

    return install


def test_bearer_middleware_before_the_cache_keeps_nothing(around, imported):
    around(before=["apikeys.http.BearerMiddleware"])
    where = VIEWS["middleware"]

    names = [user(Client().get(where, headers={"X-Api-Key": text})) for text in (ONE, OTHER)]

    assert names == ["project:one", "project:other"]
    assert user(Client().get(where)) == "None"


def test_an_exception_that_becomes_an_answer_is_not_kept(around, imported):
    around(behind=[f"{__name__}.Rescue"])

    for text, name in ((ONE, b"project:one"), (OTHER, b"project:other")):
        assert name in Client().get("/missing/", headers={"X-Api-Key": text}).content
    assert Client().get("/missing/").status_code == 401


@pytest.mark.parametrize(("where", "status"), [("/missing/", 404), ("/forbidden/", 403)])
def test_bearer_middleware_marks_what_django_makes_of_an_exception(settings, where, status):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "apikeys.http.BearerMiddleware"]

    response = Client().get(where, headers=bearer(mint_pat().token))

    assert (response.status_code, response["Cache-Control"]) == (status, "private")
    assert "X-Api-Key" in response["Vary"]


def test_an_answer_to_a_session_varies_on_every_credential(client):
    client.force_login(UserFactory())
    response = client.get("/sessions-first/")

    assert response.status_code == 200
    vary = {each.strip() for each in response["Vary"].split(",")}
    assert vary >= {"Authorization", "X-Api-Key", "Signature-Input", "Signature", "Cookie"}


def test_an_answer_to_a_session_is_for_nobody_else(client):
    client.force_login(UserFactory())
    assert client.get("/sessions-first-cached/").status_code == 200

    for headers in ({}, bearer("no-such-token"), {"X-Api-Key": ONE}):
        assert Client().get("/sessions-first-cached/", headers=headers).status_code == 401


@pytest.mark.parametrize("where", ["/own-ninja/subclass", "/own-ninja/function"])
def test_an_authenticator_of_the_site_around_ours_answers_alike(where):
    response = Client().get(where, headers=bearer(mint_pat().token))
    refused = Client().get(where, headers=bearer("no-such-token"))

    assert (response.status_code, refused.status_code) == (200, 401)
    for each in (response, refused):
        assert each["Cache-Control"] == "private"
        assert "X-Api-Key" in each["Vary"]
    assert refused.json()["code"] == "invalid_token"


def test_fields_for_shared_caches_alone_are_dropped():
    given = {
        "Cache-Control": "max-age=60",
        "CDN-Cache-Control": "max-age=600",
        "Cloudflare-CDN-Cache-Control": "max-age=600",
        "Surrogate-Control": "max-age=600",
        "X-Accel-Expires": "600",
    }
    personal, anonymous = HttpResponse(headers=given), HttpResponse(headers=given)

    shared_caches.protect({"HTTP_X_API_KEY": "x"}, personal)
    shared_caches.protect({}, anonymous)

    assert personal["Cache-Control"] == "max-age=60, private"
    assert personal.headers.keys() & given.keys() == {"Cache-Control"}
    assert anonymous.headers.items() >= given.items()


@pytest.mark.parametrize("other", ["Basic c3RhZ2luZzpw", "Digest x", "junk"])
def test_a_decision_for_a_key_in_another_header_is_not_kept_under_authorization(
    settings, imported, other
):
    routes = [{"method": "GET", "path": "/offers/", "scopes": [SCOPE]}]
    settings.APIKEYS = settings.APIKEYS | {"GATEWAY_ROUTES": routes, "GATEWAY_MAX_AGE": 60}
    asked = {"X-Original-Method": "GET", "X-Original-URI": "/offers/"}

    response = Client().get(
        "/gateway/authorize/", headers=asked | {"Authorization": other, "X-Api-Key": ONE}
    )

    assert (response.status_code, response["X-Auth-Project"]) == (200, "one")
    assert "X-Accel-Expires" not in response
    assert response["Cache-Control"] == "no-store"
