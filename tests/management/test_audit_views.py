"""``manage.py apikeys audit-views``: every URL, what it accepts and what it requires."""

import io
import json

import pytest
from django.core.management import call_command
from django.http import JsonResponse
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from django.views import View as DjangoView
from ninja import NinjaAPI
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.routers import DefaultRouter

from apikeys.drf import AnyScope, HasScope, ReadWriteScope
from apikeys.http import require_scopes
from apikeys.ninja import KeyAuth
from tests.drf.conftest import View
from tests.drf.test_scoping import Payments

ALL = ["personal_access_token", "project_key", "oauth", "external"]
USERS = ["personal_access_token", "oauth"]


class Orders(View):
    http_method_names = ["get", "post"]
    required_scopes = {"read": ["payments:read"], "write": ["payments:write"]}
    accepts = USERS


class Public(View):
    http_method_names = ["get"]
    permission_classes = [AllowAny]
    required_scopes = []


class Forgotten(View):
    http_method_names = ["get"]
    permission_classes = [IsAuthenticated]


class Lenient(HasScope):
    def has_permission(self, request, view):
        return True


class Overridden(View):
    http_method_names = ["get"]
    permission_classes = [Lenient]
    required_scopes = ["payments:read"]


class ByMethod(View):
    http_method_names = ["get", "post"]
    permission_classes = [ReadWriteScope("payments")]


class Misspelt(View):
    http_method_names = ["get"]
    required_scopes = ["payment:read"]


class Anything(View):
    http_method_names = ["get"]
    permission_classes = [AnyScope]


@require_scopes("payments:read", accepts=["project_key"])
def guarded(request):
    return JsonResponse({})


@method_decorator(require_scopes("reports:read"), name="dispatch")
class GuardedClass(DjangoView):
    def get(self, request):
        return JsonResponse({})


def page(request): ...


api = NinjaAPI(urls_namespace="audited")


@api.get("/ninja", auth=KeyAuth("payments:read", accepts=USERS))
def operation(request): ...


@api.post("/ninja")
def open_operation(request): ...


router = DefaultRouter()
router.register("payments", Payments, basename="payment")

urlpatterns = [
    path(
        "api/",
        include(
            [
                path("orders/<int:pk>/", Orders.as_view()),
                path("public/", Public.as_view()),
                path("forgotten/", Forgotten.as_view()),
                path("overridden/", Overridden.as_view()),
                path("by-method/", ByMethod.as_view()),
                path("misspelt/", Misspelt.as_view()),
                path("anything/", Anything.as_view()),
                re_path(r"^guarded/(?P<name>[a-z]+)/$", guarded),
                path("guarded-class/", GuardedClass.as_view()),
                path("page/", page),
                path("", api.urls),
            ]
        ),
    ),
    *router.urls,
]

pytestmark = pytest.mark.urls(__name__)


def audit(*words):
    call_command("apikeys", "audit-views", *words, stdout=(out := io.StringIO()))
    return out.getvalue()


@pytest.fixture
def rows():
    found = json.loads(audit("--json"))
    return lambda name: [
        (each["methods"], each["accepts"], each["requires"], each["problem"])
        for each in found
        if each["view"].rpartition(f"{__name__}.")[2] == name
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Orders", [(["GET"], USERS, ["payments:read"], None),
                    (["POST"], USERS, ["payments:write"], None)]),
        ("Public", [(["GET"], ALL, [], None)]),
        ("Forgotten", [(["GET"], ALL, None, "scope_not_declared")]),
        ("Overridden", [(["GET"], ALL, None, "has_permission_overridden")]),
        ("ByMethod", [(["GET"], ALL, ["payments:read"], None),
                      (["POST"], ALL, ["payments:write"], None)]),
        ("Misspelt", [(["GET"], ALL, ["payment:read"], "unknown_scope")]),
        ("Anything", [(["GET"], ALL, [], None)]),
        ("guarded", [([], ["project_key"], ["payments:read"], None)]),
        ("GuardedClass", [(["GET"], ALL, ["reports:read"], None)]),
        ("page", [([], [], None, None)]),
        ("operation", [(["GET"], USERS, ["payments:read"], None)]),
        ("open_operation", [(["POST"], [], None, None)]),
    ],
)  # fmt: skip
def test_a_view_of_each_kind(rows, name, expected):
    assert rows(name) == expected


def test_every_url_is_listed():
    urls = {each["url"] for each in json.loads(audit("--json"))}
    assert {"/api/orders/<int:pk>/", "/api/guarded/<name>/", "/api/ninja", "/api/page/"} <= urls
    assert "/payments/" in urls


def test_a_viewset_is_listed_by_action():
    views = {each["view"] for each in json.loads(audit("--json"))}
    assert {
        "tests.drf.test_scoping.Payments.list",
        "tests.drf.test_scoping.Payments.create",
    } <= views


def test_the_settings_of_the_site_count(settings, rows):
    settings.APIKEYS = {
        **settings.APIKEYS,
        "ACCEPTS": USERS,
        "DEFAULT_SCOPES": {__name__: {"read": ["reports:read"]}},
    }
    (forgotten,) = [each for each in json.loads(audit("--json")) if "Forgotten" in each["view"]]
    assert forgotten["accepts"] == USERS
    assert forgotten["requires"] == ["reports:read"]
    assert forgotten["problem"] is None


def test_the_table():
    lines = audit().splitlines()
    assert lines[0].split() == ["URL", "METHODS", "ACCEPTS", "REQUIRES", "VIEW"]
    (forgotten,) = [line for line in lines if "/api/forgotten/" in line]
    assert "refuses all: no scope declared" in forgotten
    (public,) = [line for line in lines if "/api/public/" in line]
    assert "no scope" in public
    (overridden,) = [line for line in lines if "/api/overridden/" in line]
    assert "Lenient overrides has_permission() of" in overridden


def test_a_module_that_refuses_on_purpose_is_said_to(settings, request):
    settings.APIKEYS = {
        **settings.APIKEYS,
        "DEFAULT_SCOPES": {__name__: None, f"{__name__}.Anything": ["payments:read"]},
    }
    rows = request.getfixturevalue("rows")
    for name in ("Forgotten", "Public", "ByMethod", "Overridden", "Misspelt"):
        assert {row[2:] for row in rows(name)} == {(None, "refused_on_purpose")}, name
    assert rows("Anything") == [(["GET"], ALL, [], None)]
    (forgotten,) = [line for line in audit().splitlines() if "/api/forgotten/" in line]
    assert "refuses all on purpose" in forgotten


@pytest.mark.urls("tests.urls")
def test_the_example_has_no_view_with_a_problem():
    assert [each for each in json.loads(audit("--json")) if each["problem"]] == []
