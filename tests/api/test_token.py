"""``GET /api/token/`` returns the facts of every kind of credential."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application

from apikeys import lifecycle
from tests.factories import (
    ProjectFactory,
    bearer,
    mint_key,
    mint_pat,
)

FIELDS = ["kind", "id", "name", "user", "project", "client", "scopes", "projects", "expires_at"]

pytestmark = pytest.mark.usefixtures("compiler")  # a second project of ada


@pytest.fixture
def whoami(client):
    def whoami(token):
        response = client.get("/api/token/", headers=bearer(token))
        assert response.status_code == 200
        assert response["Content-Type"] == "application/json"
        # The response is private, and changes with revocations and memberships.
        assert response["Cache-Control"] == "no-store"
        facts = response.json()
        assert list(facts) == FIELDS
        return facts

    return whoami


def test_personal_access_token_returns_its_facts(whoami, ada):
    expires_at = datetime(2100, 1, 2, 3, 4, 5, tzinfo=UTC)
    minted = mint_pat(
        ada, name="ci", scopes=["reports:read", "payments:write"], expires_at=expires_at
    )
    assert whoami(minted.token) == {
        "kind": "personal_access_token",
        "id": minted.key.public_id,
        "name": "ci",
        "user": "ada",
        "project": None,
        "client": None,
        "scopes": ["payments:write", "reports:read"],
        "projects": ["analytical-engine", "compiler"],
        "expires_at": "2100-01-02T03:04:05+00:00",
    }


def test_personal_access_token_lists_selected_projects(whoami, ada):
    compiler = ada.project_memberships.get(project__slug="compiler").project
    minted = mint_pat(ada, projects=[compiler])
    assert whoami(minted.token)["projects"] == ["compiler"]
    ada.project_memberships.filter(project=compiler).delete()
    assert whoami(minted.token)["projects"] == []


def test_token_without_expiry_returns_null(whoami, ada):
    assert whoami(mint_pat(ada).token)["expires_at"] is None


def test_project_key_returns_its_facts(whoami, db):
    minted = mint_key(ProjectFactory(slug="engine"), name="server")
    assert whoami(minted.token) == {
        "kind": "project_key",
        "id": minted.key.public_id,
        "name": "server",
        "user": None,
        "project": "engine",
        "client": None,
        "scopes": ["payments:read"],
        "projects": ["engine"],
        "expires_at": None,
    }


def test_project_key_works_after_its_creator_is_deleted(whoami, ada):
    minted = mint_key(ProjectFactory(slug="own"), by=ada)
    ada.delete()
    assert whoami(minted.token)["project"] == "own"


def test_oauth_token_returns_its_facts(whoami, ada):
    application = Application.objects.create(
        client_id="webapp",
        name="Web app",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_PASSWORD,
    )
    row = AccessToken.objects.create(
        user=ada,
        application=application,
        token="an-access-token-of-ada",
        scope="reports:read payments:read",
        expires=timezone.now() + timedelta(minutes=5),
    )
    row.refresh_from_db()
    assert whoami("an-access-token-of-ada") == {
        "kind": "oauth",
        "id": str(row.pk),
        "name": "Web app",
        "user": "ada",
        "project": None,
        "client": "webapp",
        "scopes": ["payments:read", "reports:read"],
        "projects": ["analytical-engine", "compiler"],
        "expires_at": row.expires.isoformat(),
    }


def test_inactive_projects_are_omitted(whoami, ada):
    project = ada.project_memberships.get(project__slug="analytical-engine").project
    project.is_active = False
    project.save()
    assert whoami(mint_pat(ada).token)["projects"] == ["compiler"]


def test_any_scope_is_accepted(whoami, ada):
    assert whoami(mint_pat(ada, scopes=["reports:read"]).token)["scopes"] == ["reports:read"]


def test_response_does_not_contain_the_secret(client, ada):
    minted = mint_pat(ada)
    response = client.get("/api/token/", headers=bearer(minted.token))
    secret = minted.token.rpartition("_")[2]
    assert secret not in response.content.decode() + str(response.headers)
    for stored in (minted.key.root, minted.key.digest):
        assert stored not in response.content.decode()


def test_each_response_is_current(client, ada):
    minted = mint_pat(ada)
    headers = bearer(minted.token)
    assert client.get("/api/token/", headers=headers).status_code == 200
    lifecycle.revoke(minted.key)
    response = client.get("/api/token/", headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "revoked_key")


def test_response_needs_two_queries(client, ada, django_assert_num_queries):
    headers = bearer(mint_pat(ada).token)
    client.get("/api/token/", headers=headers)
    with django_assert_num_queries(2):  # the key and its user; the projects
        client.get("/api/token/", headers=headers)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_writing_methods_are_refused(client, ada, method):
    response = getattr(client, method)("/api/token/", headers=bearer(mint_pat(ada).token))
    assert response.status_code == 405


def test_head_and_options_are_answered(client, ada):
    headers = bearer(mint_pat(ada).token)
    assert client.head("/api/token/", headers=headers).status_code == 200
    assert client.options("/api/token/", headers=headers).status_code == 200
    assert client.options("/api/token/").status_code == 401


@pytest.mark.parametrize("query", ["?access_token={}", "?token={}", "?key={}"])
def test_credential_in_the_url_is_refused(client, ada, query):
    """RFC 6750 section 2.3 allows it; URLs end up in logs."""
    response = client.get("/api/token/" + query.format(mint_pat(ada).token))
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")


def test_credential_in_the_body_is_refused(client, ada):
    """RFC 6750 section 2.2."""
    response = client.post("/api/token/", {"access_token": mint_pat(ada).token})
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")


def test_session_is_refused(client, ada):
    client.force_login(ada)
    assert client.get("/api/token/").json()["code"] == "not_authenticated"
