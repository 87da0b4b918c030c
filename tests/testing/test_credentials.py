"""Views of every framework treat a credential of ``force_access`` like a real one.

Only tests that request it may use the database.
"""

import asyncio
from datetime import UTC, datetime

import pytest
from django.contrib.auth import get_user_model
from django.http import JsonResponse
from django.test import AsyncClient, Client
from django.urls import path
from ninja import NinjaAPI
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from apikeys.access import PERSONAL_ACCESS_TOKEN, PROJECT_KEY
from apikeys.drf import AnyScope, BearerAuthentication, HasScope
from apikeys.http import require_scopes
from apikeys.models import Project
from apikeys.ninja import KeyAuth
from apikeys.refusals import Refused
from apikeys.testing import MembershipFactory, access_for, api_client, bearer, force_access
from apikeys.verify import verify

pytestmark = pytest.mark.urls(__name__)


class Reports(APIView):
    authentication_classes = [BearerAuthentication]
    permission_classes = [HasScope]
    required_scopes = ["payments:read"]

    def get(self, request):
        return Response({"kind": request.auth.kind, "user": str(request.user)})


class Undeclared(APIView):
    authentication_classes = [BearerAuthentication]

    def get(self, request):
        return Response()


@require_scopes("payments:read")
def plain(request):
    return JsonResponse({"kind": request.auth.kind, "user": str(request.user)})


@require_scopes("payments:read")
async def plain_async(request):
    return JsonResponse({"kind": request.auth.kind, "user": str(request.user)})


api = NinjaAPI(urls_namespace="testing")


@api.get("/", auth=KeyAuth("payments:read"))
def ninja(request):
    return {"kind": request.auth.kind, "user": str(request.user)}


urlpatterns = [
    path("drf/", Reports.as_view()),
    path("anyone/", Reports.as_view(permission_classes=[AnyScope])),
    path("undeclared/", Undeclared.as_view()),
    path("plain/", plain),
    path("async/", plain_async),
    path("ninja/", api.urls),
]

EVERYWHERE = pytest.mark.parametrize("where", ["/drf/", "/plain/", "/async/", "/ninja/"])


def somebody():
    return get_user_model()(username="ada")


@EVERYWHERE
def test_a_view_gets_a_users_credential(where):
    with force_access(access_for(user=somebody(), scopes=["payments:write"])) as text:
        response = Client(headers=bearer(text)).get(where)

    assert response.json() == {"kind": PERSONAL_ACCESS_TOKEN, "user": "ada"}


@EVERYWHERE
def test_a_view_gets_a_projects_credential(where):
    project = Project(slug="engine")
    with force_access(access_for(project=project, scopes=["payments:read"])) as text:
        response = Client(headers=bearer(text)).get(where)

    assert response.json() == {"kind": PROJECT_KEY, "user": "project:engine"}


@EVERYWHERE
def test_a_credential_without_the_scope_is_refused(where):
    with force_access(access_for(user=somebody(), scopes=["keys:read"])) as text:
        response = Client(headers=bearer(text)).get(where)

    assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")


def test_a_view_that_checks_no_scope_still_refuses_it():
    with force_access(access_for(user=somebody(), scopes=["payments:read"])) as text:
        assert api_client(text).get("/undeclared/").json()["code"] == "scope_not_declared"
        assert api_client(text).get("/anyone/").status_code == 200


def test_a_request_factory_sends_the_credential():
    with force_access(access_for(user=somebody(), scopes=["payments:read"])) as text:
        request = APIRequestFactory(headers=bearer(text)).get("/")
        assert Reports.as_view()(request).data["user"] == "ada"


def test_an_async_client_sends_the_credential():
    with force_access(access_for(user=somebody(), scopes=["payments:read"])) as text:
        response = asyncio.run(AsyncClient().get("/async/", headers=bearer(text)))

    assert response.json()["user"] == "ada"


@pytest.mark.django_db
def test_it_ends_with_the_block():
    with force_access(access_for(user=somebody(), scopes=["payments:read"])) as text:
        verify(text)

    with pytest.raises(Refused, match="invalid_token"):
        verify(text)


def test_several_credentials_stay_separate():
    reader = access_for(user=somebody(), scopes=["payments:read"])
    server = access_for(project=Project(slug="engine"), scopes=["payments:read"])

    with force_access(reader) as one, force_access(server) as other:
        assert verify(one) is reader
        assert verify(other) is server
        assert reader.credential_id != server.credential_id


def test_more_fields_of_access_can_be_set():
    ends = datetime(2030, 1, 1, tzinfo=UTC)

    access = access_for(user=somebody(), scopes=["b", "a"], expires_at=ends, name="laptop")

    assert (access.scope, access.expires_at, access.name) == ("a b", ends, "laptop")
    with pytest.raises(TypeError, match="colour"):
        access_for(user=somebody(), scopes=["a"], colour="red")


def test_a_user_and_a_project_cannot_be_combined():
    with pytest.raises(TypeError, match="either a user or a project"):
        access_for(scopes=["a"])
    with pytest.raises(TypeError, match="either a user or a project"):
        access_for(user=somebody(), project=Project(), scopes=["a"])
    with pytest.raises(TypeError, match="projects only with a user"):
        access_for(project=Project(), projects=[], scopes=["a"])


@pytest.mark.django_db
def test_projects_are_restricted_and_the_policy_applies():
    member = MembershipFactory(role="viewer")
    other = MembershipFactory(user=member.user, role="owner")
    strange = MembershipFactory()
    reached = [member.project, strange.project]

    access = access_for(user=member.user, projects=reached, scopes=["payments:write"])

    assert list(access.projects("payments:read")) == [member.project]
    assert not access.projects("payments:write")
    assert not access.allows("payments:read", project=other.project)
