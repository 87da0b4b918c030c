"""Which credentials a view accepts, in every framework; and views that need a user."""

import asyncio
import io
import json

import pytest
from asgiref.sync import sync_to_async
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connection
from django.http import JsonResponse
from django.test import AsyncClient, Client
from django.urls import path
from ninja import NinjaAPI
from rest_framework import serializers
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_api_key.models import APIKey

from apikeys import lifecycle
from apikeys.access import OAUTH
from apikeys.drf import AnyScope, BearerAuthentication
from apikeys.errors import LifecycleError
from apikeys.http import require_scopes
from apikeys.models import Membership, Project
from apikeys.ninja import KeyAuth
from apikeys.testing import access_for, force_access
from tests.factories import (
    MembershipFactory,
    ProjectFactory,
    UserFactory,
    bearer,
    mint_key,
    mint_pat,
    with_wrong_secret,
)

USERS = ["personal_access_token", "oauth"]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


class Open(APIView):
    authentication_classes = [BearerAuthentication]
    permission_classes = [AnyScope]

    def get(self, request):
        return Response({"user": str(request.user)})


class OfUsers(Open):
    accepts = USERS


class OfProjects(Open):
    accepts = ["project_key"]


class OfNobody(Open):
    accepts = ["project_kye"]


@api_view(["GET"])
@authentication_classes([BearerAuthentication])
@permission_classes([AnyScope])
def function(request):
    return Response({})


function.cls.accepts = USERS


@require_scopes("payments:read", accepts=USERS)
def plain(request):
    return JsonResponse({"user": str(request.user)})


@require_scopes("payments:read", accepts=USERS)
async def plain_async(request):
    return JsonResponse({"user": str(request.user)})


@require_scopes("payments:read")
def undeclared(request):
    return JsonResponse({})


@require_scopes("payments:read", accepts=["project_key"])
def of_projects(request):
    return JsonResponse({})


def behind_the_middleware(request):
    return JsonResponse({"kind": request.auth and request.auth.kind})


async def behind_the_middleware_async(request):
    return JsonResponse({"kind": request.auth and request.auth.kind})


api = NinjaAPI(urls_namespace="acceptance")


@api.get("/sync", auth=KeyAuth("payments:read", accepts=USERS))
def ninja_sync(request):
    return {}


@api.get("/async", auth=KeyAuth("payments:read", accepts=USERS))
async def ninja_async(request):
    return {}


@api.get("/undeclared", auth=KeyAuth("payments:read"))
def ninja_undeclared(request):
    return {}


@api.get("/of-projects", auth=KeyAuth("payments:read", accepts=["project_key"]))
def ninja_of_projects(request):
    return {}


# Views that were written for users.


def rows(request):
    return Membership.objects.filter(user=request.user).count()


def one_of(request):
    return Membership.objects.filter(user__in=[request.user]).count()


def excluded(request):
    return Membership.objects.exclude(user=request.user).count()


def updated(request):
    return Membership.objects.update(user=request.user)


def created(request):
    return Membership.objects.create(user=request.user, project=ProjectFactory()).pk


def found_or_created(request):
    return Membership.objects.get_or_create(user=request.user, project=ProjectFactory())[0].pk


def assigned(request):
    ProjectFactory(slug="half-of-it")
    return Membership(user=request.user).pk


def attribute(request):
    return request.user.profile


class _Body(serializers.ModelSerializer):
    user = serializers.HiddenField(default=serializers.CurrentUserDefault())

    class Meta:
        model = Membership
        fields = ["user", "project"]


def default_of_a_serializer(request):
    body = _Body(data={"project": ProjectFactory().pk}, context={"request": request})
    body.is_valid(raise_exception=True)
    return body.save().pk


NEED_A_USER = [
    rows, one_of, excluded, updated, created, found_or_created, assigned, attribute,
    default_of_a_serializer,
]  # fmt: skip


def bug(request):
    raise ValueError("a bug")


def another_bug(request):
    return request.nothing


def as_drf(function):
    class View(Open):
        __qualname__ = f"View_{function.__name__}"

        def get(self, request):
            return Response({"found": function(request)})

    return View.as_view()


def as_plain(function):
    @require_scopes("payments:read")
    def view(request):
        return JsonResponse({"found": function(request)})

    return view


def as_async(function):
    @require_scopes("payments:read")
    async def view(request):
        return JsonResponse({"found": await sync_to_async(function)(request)})

    return view


def as_ninja(function):
    def operation(request):
        return {"found": function(request)}

    return operation


for each in (*NEED_A_USER, bug, another_bug):
    api.get(f"/need/{each.__name__}", auth=KeyAuth("payments:read"))(as_ninja(each))


urlpatterns = [
    path("drf/", OfUsers.as_view()),
    path("initkwargs/", OfUsers.as_view(accepts=["oauth"])),
    path("function/", function),
    path("plain/", plain),
    path("async/", plain_async),
    path("ninja/", api.urls),
    path("undeclared/drf/", Open.as_view()),
    path("undeclared/plain/", undeclared),
    path("projects/drf/", OfProjects.as_view()),
    path("projects/plain/", of_projects),
    path("nobody/", OfNobody.as_view()),
    path("middleware/", behind_the_middleware),
    path("middleware-async/", behind_the_middleware_async),
    *(
        path(f"need/{kind}/{each.__name__}/", make(each))
        for kind, make in {"drf": as_drf, "plain": as_plain, "async": as_async}.items()
        for each in (*NEED_A_USER, bug, another_bug)
    ),
]

DECLARED = ["/drf/", "/function/", "/plain/", "/async/", "/ninja/sync", "/ninja/async"]
UNDECLARED = ["/undeclared/drf/", "/undeclared/plain/", "/ninja/undeclared"]
OF_PROJECTS = ["/projects/drf/", "/projects/plain/", "/ninja/of-projects"]


@pytest.fixture(params=["sync", "async"])
def get(request, transactional_db):
    """A GET over WSGI's handler, and over ASGI's."""

    def call(where, minted=None):
        headers = {} if minted is None else bearer(minted)
        if request.param == "sync":
            response = Client(raise_request_exception=False).get(where, headers=headers)
        else:
            client = AsyncClient(raise_request_exception=False)
            response = asyncio.run(client.get(where, headers=headers))
        return response

    return call


def outcome(response):
    is_json = response.headers["Content-Type"] == "application/json"
    return response.status_code, response.json().get("code") if is_json else None


REFUSED = 403, "credential_not_accepted"
TAKEN = 200, None


class TestAccepts:
    @pytest.mark.parametrize("where", DECLARED)
    def test_other_kinds_are_refused(self, get, where):
        assert outcome(get(where, mint_pat())) == TAKEN
        response = get(where, mint_key())
        assert outcome(response) == REFUSED
        assert response.json()["detail"] == (
            "This kind of credential is not accepted here. Use one of these kinds: "
            "personal_access_token, oauth."
        )
        assert "private" in response["Cache-Control"]

    def test_bad_credentials_are_still_refused_as_such(self, client):
        for where in DECLARED[:3]:
            response = client.get(where, headers=bearer("acme_key_mistyped"))
            assert outcome(response) == (401, "malformed_key")

    def test_an_argument_of_as_view_counts(self, client):
        assert outcome(client.get("/initkwargs/", headers=bearer(mint_pat()))) == REFUSED

    def test_a_misspelt_kind_accepts_nothing(self, client):
        for minted in (mint_pat(), mint_key()):
            assert outcome(client.get("/nobody/", headers=bearer(minted))) == REFUSED

    def test_a_token_issued_for_a_project_key_acts_as_the_project(self, client):
        project = ProjectFactory()
        for_project = access_for(project=project, scopes=["payments:read"], kind=OAUTH)
        for_user = access_for(user=UserFactory(), scopes=["payments:read"], kind=OAUTH)
        with force_access(for_project) as text:
            assert outcome(client.get("/drf/", headers=bearer(text))) == REFUSED
            assert outcome(client.get("/undeclared/drf/", headers=bearer(text))) == TAKEN
        with force_access(for_user) as text:
            assert outcome(client.get("/drf/", headers=bearer(text))) == TAKEN

    @pytest.mark.parametrize("where", UNDECLARED)
    def test_the_site_sets_a_default(self, get, settings, where):
        assert outcome(get(where, mint_key())) == TAKEN
        settings.APIKEYS = {**settings.APIKEYS, "ACCEPTS": USERS}
        assert outcome(get(where, mint_key())) == REFUSED
        assert outcome(get(where, mint_pat())) == TAKEN

    @pytest.mark.parametrize("where", OF_PROJECTS)
    def test_a_view_accepts_more_than_the_default(self, get, settings, where):
        settings.APIKEYS = {**settings.APIKEYS, "ACCEPTS": USERS}
        assert outcome(get(where, mint_key())) == TAKEN
        assert outcome(get(where, mint_pat())) == REFUSED

    @pytest.mark.parametrize("where", [*OF_PROJECTS, "/middleware/", "/middleware-async/"])
    def test_the_middleware_goes_by_the_view_and_then_by_the_default(self, get, settings, where):
        middleware = [*settings.MIDDLEWARE, "apikeys.http.BearerMiddleware"]
        settings.MIDDLEWARE = middleware
        settings.APIKEYS = {**settings.APIKEYS, "ACCEPTS": USERS}
        is_declared = where in OF_PROJECTS
        assert outcome(get(where, mint_key())) == (TAKEN if is_declared else REFUSED)
        assert outcome(get(where, mint_pat())) == (REFUSED if is_declared else TAKEN)
        if not is_declared:
            assert get(where).json() == {"kind": None}

    @pytest.mark.parametrize("given", ["oauth", ["key"], 7, [[]]])
    def test_a_wrong_default_is_reported(self, settings, given):
        settings.APIKEYS = {**settings.APIKEYS, "ACCEPTS": given}
        assert "apikeys.E100" in [message.id for message in run_checks(tags=["apikeys"])]

    def test_a_decorator_with_an_unknown_kind_fails_at_once(self):
        for make in (require_scopes, KeyAuth):
            with pytest.raises(TypeError, match="project_kye"):
                make("payments:read", accepts=["project_kye"])


class TestViewsThatNeedAUser:
    @pytest.mark.parametrize("need", NEED_A_USER)
    @pytest.mark.parametrize(
        "where", ["/need/drf/{}/", "/need/plain/{}/", "/need/async/{}/", "/ninja/need/{}"]
    )
    def test_a_project_key_gets_403_and_the_log_names_view_and_fixes(
        self, transactional_db, caplog, where, need
    ):
        minted = mint_key()
        client = Client(raise_request_exception=False, headers=bearer(minted))
        response = client.get(where.format(need.__name__))
        assert outcome(response) == (403, "user_required")
        (line,) = [each.getMessage() for each in caplog.records if each.name == "apikeys"]
        for part in ("PROJECT_USER", "`accepts`", "PROJECT_KEYS", minted.key.public_id, __name__):
            assert part in line
        assert minted.token not in line

    def test_a_user_is_served(self, client):
        for where in ("/need/drf/rows/", "/need/plain/rows/", "/ninja/need/rows"):
            assert outcome(client.get(where, headers=bearer(mint_pat()))) == TAKEN

    @pytest.mark.parametrize("where", ["/need/drf/{}/", "/need/plain/{}/", "/ninja/need/{}"])
    @pytest.mark.parametrize("name", ["bug", "another_bug"])
    def test_a_bug_stays_a_bug(self, where, name):
        client = Client(raise_request_exception=False, headers=bearer(mint_key()))
        assert client.get(where.format(name)).status_code == 500

    def test_the_writes_of_the_request_are_rolled_back(self, transactional_db, settings):
        for where in ("/need/drf/assigned/", "/need/plain/assigned/", "/ninja/need/assigned"):
            minted = mint_key()
            settings.DATABASES["default"]["ATOMIC_REQUESTS"] = True
            connection.settings_dict["ATOMIC_REQUESTS"] = True
            try:
                response = Client().get(where, headers=bearer(minted))
            finally:
                connection.settings_dict["ATOMIC_REQUESTS"] = False
                settings.DATABASES["default"]["ATOMIC_REQUESTS"] = False
            assert outcome(response) == (403, "user_required")
            assert not Project.objects.filter(slug="half-of-it").exists(), where


@pytest.fixture
def without_keys(settings):
    """A project key that was created before the site turned its kind off."""
    minted = mint_key(ProjectFactory(slug="shop"))
    settings.APIKEYS = {**settings.APIKEYS, "PROJECT_KEYS": False}
    return minted


@pytest.mark.urls("tests.urls")
class TestSiteWithoutProjectKeys:
    def test_a_key_is_refused_after_its_secret_was_checked(self, client, without_keys):
        assert outcome(client.get("/api/token/", headers=bearer(without_keys))) == REFUSED
        wrong = with_wrong_secret(without_keys.token)
        assert outcome(client.get("/api/token/", headers=bearer(wrong))) == (401, "invalid_key")
        assert outcome(client.get("/api/token/", headers=bearer(mint_pat()))) == TAKEN

    def test_pages(self, client, ada, without_keys):
        client.force_login(ada)
        MembershipFactory(user=ada, project=without_keys.key.project, role="owner")
        page = client.get("/settings/keys/")
        assert page.status_code == 200
        assert "/settings/keys/projects/" not in page.text
        for where in ("projects/", "projects/shop/", "projects/shop/new/"):
            assert client.get(f"/settings/keys/{where}").status_code == 404
        assert client.get("/settings/keys/approvals/").status_code == 200

    def test_api(self, client, ada, without_keys):
        headers = bearer(mint_pat(ada, scopes=["keys:write"]))
        where = "/api/projects/analytical-engine/keys/"
        assert client.get(where, headers=headers).status_code == 404
        body = {"name": "n", "scopes": ["payments:read"]}
        done = client.post(where, body, content_type="application/json", headers=headers)
        assert done.status_code == 404
        assert client.get("/api/approvals/keys/", headers=headers).status_code == 404
        assert client.get("/api/tokens/", headers=headers).status_code == 200

    def test_admin(self, admin_client, without_keys):
        assert "/admin/apikeys/projectkey/" not in admin_client.get("/admin/").text
        for where in ("", "add/", f"{without_keys.key.pk}/change/"):
            assert admin_client.get(f"/admin/apikeys/projectkey/{where}").status_code == 403

    def test_command(self, without_keys):
        words = ["mint", "--project", "shop", "--name", "n", "--scope", "payments:read"]
        with pytest.raises(CommandError, match="does not use project keys"):
            call_command("apikeys", *words, stderr=io.StringIO())
        call_command("apikeys", "list", "--json", stdout=(out := io.StringIO()))
        assert json.loads(out.getvalue()) == []
        call_command("apikeys", "list", "--kind", "project_key", "--json", stdout=out)
        assert without_keys.key.public_id in out.getvalue()  # to clean up
        call_command("apikeys", "revoke", without_keys.key.public_id, "--reason", "unused")

    def test_import(self, without_keys):
        key = APIKey.objects.create_key(name="server")[1]
        words = ["--from", "drf-api-key", "--project", "shop", "--scope", "payments:read"]
        call_command("apikeys", "import", *words, "--json", stdout=(out := io.StringIO()))
        assert key not in out.getvalue()
        assert json.loads(out.getvalue())["skipped"] == {"project_keys_disabled": 1}

    def test_lifecycle(self, without_keys):
        for act in (
            lambda: lifecycle.mint(project=without_keys.key.project, name="n", scopes=[]),
            lambda: lifecycle.rotate(without_keys.key),
            lambda: lifecycle.approve(without_keys.key),
        ):
            with pytest.raises(LifecycleError) as error:
                act()
            assert error.value.code == "project_keys_disabled"
