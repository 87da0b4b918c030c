"""Fields of a real Strawberry schema that require scopes."""

import json

import pytest
import strawberry
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from strawberry.django.views import AsyncGraphQLView, GraphQLView

from apikeys import lifecycle, usage
from apikeys.models import ScopeUse
from apikeys.strawberry import RequireScopes
from tests.factories import mint_key, mint_pat


@strawberry.type
class Query:
    @strawberry.field
    def version(self) -> str:
        return "1"

    @strawberry.field(extensions=[RequireScopes("payments:read")])
    def who(self, info: strawberry.Info) -> str:
        request = info.context.request
        return f"{request.auth.principal} {request.auth.kind}"

    @strawberry.field
    def login(self, info: strawberry.Info) -> str:
        return info.context.request.user.get_username()

    @strawberry.field(extensions=[RequireScopes("reports:read")])
    def reports(self) -> int:
        return 3

    @strawberry.field(extensions=[RequireScopes("payments:read", accepts=["project_key"])])
    def server(self) -> bool:
        return True


@strawberry.type
class AsyncQuery:
    @strawberry.field(extensions=[RequireScopes("payments:read")])
    async def who(self, info: strawberry.Info) -> str:
        return str(info.context.request.auth.principal)

    @strawberry.field(extensions=[RequireScopes("payments:read")])
    def sync(self, info: strawberry.Info) -> str:
        return str(info.context.request.auth.principal)


urlpatterns = [
    path("graphql", GraphQLView.as_view(schema=strawberry.Schema(Query))),
    path("exempt", csrf_exempt(GraphQLView.as_view(schema=strawberry.Schema(Query)))),
    path("async", AsyncGraphQLView.as_view(schema=strawberry.Schema(AsyncQuery))),
]
pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


def ask(query, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    body = json.dumps({"query": query})
    response = Client().post("/graphql", body, content_type="application/json", headers=headers)
    return response, response.json()


def codes(body):
    return [error["extensions"]["code"] for error in body.get("errors", ())]


def test_credential_with_the_scope_resolves_the_field(ada, engine):
    response, body = ask("{ who version }", mint_pat(ada).token)
    assert body == {"data": {"who": "ada personal_access_token", "version": "1"}}
    assert "private" in response["Cache-Control"]
    assert "Authorization" in response["Vary"]
    _, body = ask("{ who server }", mint_key(engine).token)
    assert body["data"] == {"who": "project:analytical-engine project_key", "server": True}


@pytest.mark.parametrize("query", ["{ who login }", "{ login who }"])
def test_a_protected_field_logs_nobody_in_for_the_fields_beside_it(ada, query):
    _, body = ask(query, mint_pat(ada).token)
    assert body == {"data": {"who": "ada personal_access_token", "login": ""}}


def test_refusal_names_its_code_and_leaves_other_fields(ada):
    query = "{ version reports }"
    token = mint_pat(ada).token
    _, body = ask(query, token)
    assert codes(body) == ["insufficient_scope"]
    assert token not in json.dumps(body)
    assert codes(ask("{ server }", token)[1]) == ["credential_not_accepted"]
    assert ask("{ version }", token)[1] == {"data": {"version": "1"}}


@pytest.mark.parametrize(
    ("token", "code"), [(None, "not_authenticated"), ("acme_pat_x", "malformed_key")]
)
def test_bad_credentials_are_refused(token, code):
    response, body = ask("{ who }", token)
    assert codes(body) == [code]
    assert body["errors"][0]["extensions"]["status"] == 401
    assert "Authorization" in response["Vary"]


def test_revocation_takes_effect_at_once(ada):
    minted = mint_pat(ada)
    assert not codes(ask("{ who }", minted.token)[1])
    lifecycle.revoke(minted.key)
    assert codes(ask("{ who }", minted.token)[1]) == ["revoked_key"]


def test_a_request_counts_once(engine):
    token = mint_key(engine, rate_limits=["2/hour"]).token
    query = "{ who server other: who }"
    assert [codes(ask(query, token)[1]) for _ in range(2)] == [[], []]
    assert set(codes(ask("{ who }", token)[1])) == {"rate_limited"}


@pytest.mark.django_db(transaction=True)
def test_async_view(ada):
    async_to_sync(check_async_view)(mint_pat(ada))


async def check_async_view(minted):
    for token, field, expected in (
        (minted.token, "who", {"who": "ada"}),
        (minted.token + "x", "who", None),
        (minted.token, "sync", {"sync": "ada"}),
        (minted.token + "x", "sync", None),
    ):
        body = json.dumps({"query": f"{{ {field} }}"})
        response = await AsyncClient().post(
            "/async",
            body,
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}"},
        )
        assert response.json()["data"] == expected


@pytest.mark.parametrize("wrong", [(), (["payments:read"],)])
def test_a_field_needs_a_scope(wrong):
    with pytest.raises(TypeError):
        RequireScopes(*wrong)


def test_a_scope_counts_once_per_request_and_not_if_refused():
    minted = mint_key(scopes=["payments:read"])
    usage.flush()
    _, body = ask("{ a: who, b: who, server, reports }", minted.token)
    assert codes(body) == ["insufficient_scope"]
    usage.flush()
    rows = ScopeUse.objects.filter(credential=minted.key.public_id)
    assert list(rows.values_list("scope", "count")) == [("payments:read", 1)]


@pytest.mark.parametrize(("path", "status"), [("/graphql", 403), ("/exempt", 200)])
def test_a_key_needs_a_view_without_csrf_protection(path, status):
    headers = {"Authorization": f"Bearer {mint_pat().token}"}
    response = Client(enforce_csrf_checks=True).post(
        path, {"query": "{ who }"}, content_type="application/json", headers=headers
    )
    assert response.status_code == status
