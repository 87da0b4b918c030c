"""What drf-spectacular says: the security scheme, and the scopes of each operation."""

import subprocess
import sys

import pytest
from django.urls import path
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from oauth2_provider.contrib.rest_framework import TokenHasReadWriteScope, TokenHasScope
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAuthenticated

from apikeys.drf import AnyScope, BearerAuthentication, HasScope
from tests.documents import ROOT
from tests.drf.conftest import View
from tests.drf.test_scoping import Payments


class Nothing(serializers.Serializer):
    pass


def security(patterns):
    """``{(path, method): security}``; fails on a warning of the generator."""
    with GENERATOR_STATS.silence():
        GENERATOR_STATS.reset()
        schema = SchemaGenerator(patterns=patterns).get_schema(request=None, public=True)
        told = [*GENERATOR_STATS._warn_cache, *GENERATOR_STATS._error_cache]
    assert told == []
    validate_schema(schema)
    operations = {
        (route, method): operation.get("security")
        for route, methods in schema["paths"].items()
        for method, operation in methods.items()
    }
    return operations, schema.get("components", {}).get("securitySchemes", {})


def ask(**attributes):
    view = type("Orders", (View,), {"serializer_class": Nothing} | attributes)
    operations, schemes = security([path("orders/", view.as_view())])
    return {method: found for (_, method), found in operations.items()}, schemes


def test_the_scheme():
    _, schemes = ask(required_scopes=["payments:read"])
    (scheme,) = schemes.values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert scheme["description"]


def test_an_apiview():
    operations, _ = ask(
        required_scopes={"read": ["payments:read"], "write": ["payments:write", "reports:read"]}
    )
    assert operations["get"] == [{"bearerAuth": ["payments:read"]}]
    for method in ("post", "put", "patch", "delete"):
        assert operations[method] == [{"bearerAuth": ["payments:write", "reports:read"]}]


def test_a_viewset():
    class Documented(Payments):
        serializer_class = Nothing

    operations, _ = security(
        [
            path("payments/", Documented.as_view({"get": "list", "post": "create"})),
            path("payments/refund/", Documented.as_view({"post": "refund"})),
        ]
    )
    assert operations["/payments/", "get"] == [{"bearerAuth": ["payments:read"]}]
    assert operations["/payments/", "post"] == [{"bearerAuth": ["payments:write"]}]
    refund = operations["/payments/refund/", "post"]
    assert refund == [{"bearerAuth": ["payments:write", "reports:read"]}]


class Computed(HasScope):
    def get_required_scopes(self, request, view):
        return ("reports:read",) if request.method == "GET" else ("payments:write",)


@pytest.mark.parametrize(
    ("permission", "attributes", "scopes"),
    [
        (AnyScope, {}, []),
        (AnyScope, {"required_scopes": ["payments:read"]}, []),
        (Computed, {}, ["reports:read"]),
        (HasScope & IsAuthenticated, {"required_scopes": ["payments:read"]}, ["payments:read"]),
        (HasScope & Computed, {"required_scopes": ["payments:read"]},
         ["payments:read", "reports:read"]),
        (TokenHasScope, {"required_scopes": ["payments:read"]}, ["payments:read"]),
        (TokenHasReadWriteScope, {}, ["read"]),
    ],
)  # fmt: skip
def test_what_the_permissions_ask_for_is_shown(permission, attributes, scopes):
    operations, _ = ask(permission_classes=[permission], **attributes)
    assert operations["get"] == [{"bearerAuth": scopes}]


def test_a_module_that_refuses_every_key_is_shown_without_them(settings):
    settings.APIKEYS = {**settings.APIKEYS, "DEFAULT_SCOPES": {"shop.staff": None}}
    operations, _ = ask(
        authentication_classes=[BearerAuthentication, SessionAuthentication],
        required_scopes=["payments:read"],
        __module__="shop.staff.views",
    )
    assert operations["get"] == [{"cookieAuth": []}]


def test_beside_sessions():
    operations, schemes = ask(
        authentication_classes=[SessionAuthentication, BearerAuthentication],
        required_scopes=["payments:read"],
    )
    assert operations["get"] == [{"cookieAuth": []}, {"bearerAuth": ["payments:read"]}]
    assert set(schemes) == {"cookieAuth", "bearerAuth"}


def test_a_subclass_of_the_authentication():
    class Own(BearerAuthentication):
        pass

    operations, _ = ask(authentication_classes=[Own], required_scopes=["payments:read"])
    assert operations["get"] == [{"bearerAuth": ["payments:read"]}]


@pytest.mark.slow
def test_the_example(client, db):
    from example_project.urls import urlpatterns

    operations, _ = security(urlpatterns)
    assert operations["/api/payments/", "get"] == [{"bearerAuth": ["payments:read"]}]
    assert operations["/api/payments/", "post"] == [{"bearerAuth": ["payments:write"]}]
    assert operations["/api/payments/{id}/", "get"] == [{"bearerAuth": ["payments:read"]}]
    assert operations["/api/reports/", "get"] == [{"bearerAuth": ["reports:read"]}]
    assert operations["/api/token/", "get"] == [{"bearerAuth": []}]
    response = client.get("/api/schema/")
    assert response.status_code == 200
    assert b"bearerAuth" in response.content


@pytest.mark.process
def test_the_command_warns_of_nothing():
    done = subprocess.run(
        [sys.executable, "manage.py", "spectacular", "--fail-on-warn", "--validate"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "payments:write" in done.stdout


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"drf_spectacular", "oauth2_provider", "rich"}:
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50,
    ROOT_URLCONF="apikeys.api.urls",
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "apikeys"
    ],
    APIKEYS={"PREFIX": "acme", "SCOPES": {"a:read": ""}},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ALLOWED_HOSTS=["*"],
)
django.setup()
from django.core.management import call_command
from django.test import Client
call_command("check", fail_level="WARNING")
call_command("migrate", verbosity=0)
from django.contrib.auth import get_user_model
from apikeys import lifecycle
token = lifecycle.mint(
    user=get_user_model().objects.create(username="ada"), name="n", scopes=["a:read"]
).token
client = Client()
print(client.get("/token/", headers={"Authorization": "Bearer " + token}).json()["user"])
print(client.get("/token/", headers={"Authorization": "Bearer oauth"}).json()["code"])
"""


@pytest.mark.process
def test_none_of_the_extras_is_needed():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-3:-1] == ["ada", "malformed_key"]


def test_hook_shows_the_scopes_in_the_description():
    from apikeys.drf.schema import show_scopes

    given = {"get": {"security": [{"bearerAuth": ["a:read", "b:read"]}], "description": "Sums."}}
    assert show_scopes({"paths": {"/x/": given}})["paths"]["/x/"]["get"]["description"] == (
        "Sums.\n\nRequires `a:read`, `b:read`."
    )
    public = {"get": {"security": [{"bearerAuth": []}, {}]}}
    assert show_scopes({"paths": {"/x/": public}}) == {"paths": {"/x/": public}}
