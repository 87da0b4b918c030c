"""The code of a site, as a type checker sees it.

Never run. Where a line has to be an error, it says which: an ignore that ignores nothing is
an error itself.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, assert_type

import httpx
from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

import apikeys
from apikeys import lifecycle, scopes, usage
from apikeys.access import Access, ProjectUser
from apikeys.cli import App, BearerAuth, Session, Site
from apikeys.drf import AuthorizedRequest, BearerAuthentication, HasScope, InsufficientScope
from apikeys.grants import Grant, for_tokens
from apikeys.http import aauthenticate, authenticate, require_scopes
from apikeys.leaks import Report, report
from apikeys.lifecycle import LifecycleError, Minted
from apikeys.models import Membership, PersonalAccessToken, Project, ProjectKey, State
from apikeys.ninja import KeyAuth
from apikeys.policy import Policy
from apikeys.refusals import Refusal, Refused
from apikeys.testing import (
    MembershipFactory,
    PersonalAccessTokenFactory,
    ProjectKeyFactory,
    access_for,
    api_client,
    bearer,
    force_access,
)
from apikeys.verify import averify, register, verify
from apikeys.web.sudo import PasswordSudo


def mint(user: User, project: Project) -> None:
    token = lifecycle.mint(user=user, name="ci", scopes=["reports:read"], projects=[project])
    assert_type(token, Minted[PersonalAccessToken])
    assert_type(token.token, str)
    assert_type(token.key.state(), State)

    key = lifecycle.mint(
        project=project,
        name="server",
        scopes={"reports:read"},
        expires_at=datetime.now(),  # noqa: DTZ005
        allowed_networks=["203.0.113.0/24"],
        rate_limits=["100/hour"],
        within=for_tokens(user),
    )
    assert_type(key, Minted[ProjectKey])
    assert_type(key.key.owner, Model)

    lifecycle.mint(name="nobody's", scopes=["reports:read"])  # type: ignore[call-overload]
    lifecycle.mint(user=user, project=project, name="x", scopes=["x"])  # type: ignore[call-overload]
    lifecycle.mint(project=project, projects=[], name="x", scopes=["x"])  # type: ignore[call-overload]
    lifecycle.mint(user=user, name="x", scopes=["x"], expires_at="2030-01-01")  # type: ignore[call-overload]
    lifecycle.mint(user=user, name="x", scopes=["x"], expires_in=60)  # type: ignore[call-overload]
    token.token = "another"  # type: ignore[misc]


def go_on(
    token: PersonalAccessToken, key: ProjectKey, either: PersonalAccessToken | ProjectKey
) -> None:
    assert_type(lifecycle.rotate(token, overlap=timedelta(hours=1)), Minted[PersonalAccessToken])
    assert_type(lifecycle.rotate(key), Minted[ProjectKey])
    assert_type(lifecycle.rotate(either), Minted[PersonalAccessToken | ProjectKey])
    assert_type(lifecycle.revoke(either, reason="The laptop was lost."), bool)
    assert_type(lifecycle.edit(token, name="laptop", expires_at=None), dict[str, tuple[Any, Any]])
    assert_type(lifecycle.approve(key, by=None), None)

    lifecycle.rotate(token.public_id)  # type: ignore[type-var]
    lifecycle.rotate(key, overlap=3600)  # type: ignore[arg-type]
    lifecycle.revoke(token, "The laptop was lost.")  # type: ignore[call-arg]
    lifecycle.edit(token, rate_limits=100)  # type: ignore[arg-type]


def who(text: str, request: HttpRequest) -> str | None:
    try:
        access = verify(text, request, counts_as_use=False)
    except Refused as refused:
        assert_type(refused.refusal, Refusal)
        return refused.refusal.code
    assert_type(access, Access)
    assert_type(access.scopes, frozenset[str])
    assert_type(access.expires_at, datetime | None)
    assert_type(access.allows("reports:read", project=None), bool)
    assert_type(access.projects("reports:read"), QuerySet[Any])
    if isinstance(access.principal, ProjectUser):
        assert_type(access.principal.username, str)
    access.allows(["reports:read"])  # type: ignore[arg-type]
    access.allows("reports:read", in_project=None)  # type: ignore[call-arg]
    access.secret  # type: ignore[attr-defined] # noqa: B018
    return None


async def who_async(text: str, request: HttpRequest) -> None:
    assert_type(await averify(text), Access)
    assert_type(await aauthenticate(request), Access | None)
    assert_type(authenticate(request), Access | None)
    authenticate(request).scopes  # type: ignore[union-attr] # noqa: B018


class Reports(APIView):
    authentication_classes = [BearerAuthentication]
    permission_classes = [HasScope]
    required_scopes = {"read": ["reports:read"]}

    def get(self, request: AuthorizedRequest, slug: str) -> Response:
        assert_type(request.auth, Access)
        request.auth.may("reports:read")  # type: ignore[attr-defined]
        if not request.auth.projects("reports:read").filter(slug=slug).exists():
            raise InsufficientScope("reports:read")
        return Response()


@require_scopes("reports:read")
def plain(request: HttpRequest, pk: int) -> HttpResponse:
    return JsonResponse({"pk": pk})


@require_scopes("reports:read", "reports:write")
async def plain_async(request: HttpRequest) -> HttpResponse:
    return JsonResponse({})


def views_keep_their_types() -> None:
    sync: Callable[[HttpRequest, int], HttpResponse] = plain
    wrong: Callable[[HttpRequest], int] = plain  # type: ignore[assignment]
    asynchronous: Callable[[HttpRequest], Awaitable[HttpResponse]] = plain_async
    require_scopes(["reports:read"])  # type: ignore[arg-type]
    print(sync, wrong, asynchronous, KeyAuth("reports:read"))
    KeyAuth(1)  # type: ignore[arg-type]


class AcmePolicy(Policy):
    managing_roles = (Membership.Role.OWNER,)

    def role_allows(self, role: str, scope: str) -> bool:
        return super().role_allows(role, scope) and role != "guest"

    def longest_lifetime(self, owner: Any) -> timedelta | None:
        return timedelta(days=90)


class WrongPolicy(Policy):
    def role_allows(self, role: str) -> bool:  # type: ignore[override]
        return True

    def longest_lifetime(self, owner: Any) -> int:  # type: ignore[override]
        return 90


class OwnSudo(PasswordSudo):
    def is_recent(self, request: HttpRequest) -> bool:
        return super().is_recent(request)


def a_resolver(text: str, request: HttpRequest | None) -> Access | None:
    return None


def no_resolver(text: bytes) -> str:
    return ""


def the_rest(user: User, text: str) -> None:
    assert_type(apikeys.__version__, str)
    register(a_resolver)
    register(no_resolver)  # type: ignore[arg-type]
    assert_type(for_tokens(user), Grant)
    assert_type(report(text, source="us"), Report)
    report(text)  # type: ignore[call-arg]
    assert_type(scopes.expand("reports:write"), frozenset[str])
    assert_type(scopes.covers(["reports:write"], ["reports:read"]), bool)
    assert_type(usage.flush(), int)
    try:
        lifecycle.mint(user=user, name="", scopes=[])
    except LifecycleError as error:
        assert_type((error.code, error.message, error.field), tuple[str, str, str | None])


def from_a_program() -> None:
    session = Session(Site("https://api.example.com", "acme-cli", ["reports:read"]))
    with httpx.Client(auth=BearerAuth(session)) as client:
        client.get("https://api.example.com/reports/")
    App("acme", server="https://api.example.com")()
    BearerAuth("a token")  # type: ignore[arg-type]


def tests(user: User, project: Project) -> None:
    assert_type(PersonalAccessTokenFactory.create(scopes=["x"]), Minted[PersonalAccessToken])
    assert_type(ProjectKeyFactory.create(scopes=["x"]), Minted[ProjectKey])
    assert_type(MembershipFactory.create(user=user), Membership)
    assert_type(api_client(ProjectKeyFactory.create(scopes=["x"])), APIClient)
    with force_access(access_for(project=project, scopes=["x"])) as text:
        assert_type(text, str)
        Client(headers=bearer(text))
    api_client(user)  # type: ignore[arg-type]
    access_for(user=user)  # type: ignore[call-arg]
