"""``GET /api/token/``: who the caller is, for every kind of credential."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application

from apikeys import lifecycle
from tests.factories import (
    MembershipFactory,
    ProjectFactory,
    UserFactory,
    bearer,
    mint_key,
    mint_pat,
)

FIELDS = ["kind", "id", "name", "user", "project", "client", "scopes", "projects", "expires_at"]


@pytest.fixture
def ada(db):
    ada = UserFactory(username="ada")
    for slug in ("engine", "compiler"):
        MembershipFactory(user=ada, project__slug=slug)
    return ada


@pytest.fixture
def whoami(client):
    def whoami(token):
        response = client.get("/api/token/", headers=bearer(token))
        assert response.status_code == 200
        assert response["Content-Type"] == "application/json"
        # It changes with every revocation and membership, and is one caller's own.
        assert response["Cache-Control"] == "no-store"
        facts = response.json()
        assert list(facts) == FIELDS
        return facts

    return whoami


def test_a_personal_access_token(whoami, ada):
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
        "projects": ["compiler", "engine"],
        "expires_at": "2100-01-02T03:04:05+00:00",
    }


def test_a_personal_access_token_for_selected_projects(whoami, ada):
    compiler = ada.project_memberships.get(project__slug="compiler").project
    minted = mint_pat(ada, projects=[compiler])
    assert whoami(minted.token)["projects"] == ["compiler"]
    ada.project_memberships.filter(project=compiler).delete()
    assert whoami(minted.token)["projects"] == []


def test_a_token_that_never_expires(whoami, ada):
    assert whoami(mint_pat(ada).token)["expires_at"] is None


def test_a_project_key(whoami, db):
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


def test_a_project_key_outlives_its_maker(whoami, ada):
    minted = mint_key(ProjectFactory(slug="own"), by=ada)
    ada.delete()
    assert whoami(minted.token)["project"] == "own"


def test_an_oauth_token(whoami, ada):
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
        "projects": ["compiler", "engine"],
        "expires_at": row.expires.isoformat(),
    }


def test_inactive_projects_are_not_told(whoami, ada):
    project = ada.project_memberships.get(project__slug="engine").project
    project.is_active = False
    project.save()
    assert whoami(mint_pat(ada).token)["projects"] == ["compiler"]


def test_any_scope_will_do(whoami, ada):
    assert whoami(mint_pat(ada, scopes=["reports:read"]).token)["scopes"] == ["reports:read"]


def test_the_secret_is_nowhere_in_it(client, ada):
    minted = mint_pat(ada)
    response = client.get("/api/token/", headers=bearer(minted.token))
    secret = minted.token.rpartition("_")[2]
    assert secret not in response.content.decode() + str(response.headers)
    for stored in (minted.key.root, minted.key.digest):
        assert stored not in response.content.decode()


def test_each_request_asks_anew(client, ada):
    minted = mint_pat(ada)
    headers = bearer(minted.token)
    assert client.get("/api/token/", headers=headers).status_code == 200
    lifecycle.revoke(minted.key)
    response = client.get("/api/token/", headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "revoked_key")


def test_it_costs_two_queries(client, ada, django_assert_num_queries):
    headers = bearer(mint_pat(ada).token)
    client.get("/api/token/", headers=headers)
    with django_assert_num_queries(2):  # the key and its user; the projects
        client.get("/api/token/", headers=headers)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_there_is_nothing_to_write(client, ada, method):
    response = getattr(client, method)("/api/token/", headers=bearer(mint_pat(ada).token))
    assert response.status_code == 405


def test_head_and_options(client, ada):
    headers = bearer(mint_pat(ada).token)
    assert client.head("/api/token/", headers=headers).status_code == 200
    assert client.options("/api/token/", headers=headers).status_code == 200
    assert client.options("/api/token/").status_code == 401


@pytest.mark.parametrize("query", ["?access_token={}", "?token={}", "?key={}"])
def test_a_credential_in_the_url_is_not_taken(client, ada, query):
    """RFC 6750 section 2.3 allows it; URLs end up in logs."""
    response = client.get("/api/token/" + query.format(mint_pat(ada).token))
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")


def test_nor_one_in_the_body(client, ada):
    """RFC 6750 section 2.2."""
    response = client.post("/api/token/", {"access_token": mint_pat(ada).token})
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")


def test_a_session_is_no_credential(client, ada):
    client.force_login(ada)
    assert client.get("/api/token/").json()["code"] == "not_authenticated"
