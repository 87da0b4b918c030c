"""Which grants of the token endpoint each client can use."""

import pytest
from oauth2_provider.models import AccessToken, Application, RefreshToken

from apikeys.oauth.scopes import Scopes
from example_project.payments import demo
from tests.factories import bearer

pytestmark = pytest.mark.filterwarnings(
    "ignore:The OAuth 2.0 resource owner password:DeprecationWarning"
)


def test_a_first_party_client_can_use_the_password_grant(log_in):
    response = log_in()

    assert response.status_code == 200
    grant = response.json()
    assert grant["token_type"] == "Bearer"
    assert grant["scope"] == "payments:read"
    assert grant["expires_in"] == 300
    assert grant["refresh_token"]


def test_other_clients_cannot_use_the_password_grant(log_in, db):
    """RFC 9700 section 2.4 forbids it; FIRST_PARTY_CLIENTS are the exception."""
    Application.objects.create(
        client_id="stranger",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_PASSWORD,
    )

    response = log_in(client_id="stranger")

    assert response.status_code == 400
    assert response.json()["error"] == "unauthorized_client"


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"username": "nobody"}])
def test_wrong_credentials_get_no_token(log_in, changes):
    response = log_in(**changes)

    assert response.status_code == 400
    assert response.json()["error"] == "invalid_grant"


def test_the_published_password_works_only_in_the_demo(log_in, ada, settings):
    ada.set_password(demo.PASSWORD)
    ada.save()
    settings.DEMO = False

    assert log_in(password=demo.PASSWORD).json()["error"] == "invalid_grant"


def test_a_scope_that_is_repeated_is_stored_once(log_in, client):
    grant = log_in(scope="payments:write payments:read " * 10_000).json()
    assert grant["scope"] == "payments:write payments:read"
    form = {"grant_type": "refresh_token", "client_id": "webapp", "scope": "payments:read " * 9}
    form["refresh_token"] = grant["refresh_token"]
    assert client.post("/o/token/", form).json()["scope"] == "payments:read"
    assert {len(row.scope) for row in AccessToken.objects.all()} <= {13, 28}


def test_a_scope_that_the_site_does_not_declare_is_refused(log_in):
    response = log_in(scope="payments:read everything")

    assert response.status_code == 400
    assert response.json()["error"] == "invalid_scope"


def test_refreshing_gives_a_new_pair_and_ends_the_old_one(client, log_in):
    old = log_in().json()
    form = {"grant_type": "refresh_token", "client_id": "webapp"}

    new = client.post("/o/token/", form | {"refresh_token": old["refresh_token"]}).json()

    assert client.get("/api/token/", headers=bearer(new["access_token"])).status_code == 200
    assert client.get("/api/token/", headers=bearer(old["access_token"])).status_code == 401
    # RFC 9700 section 4.14.2: a replayed refresh token ends the whole family.
    replay = client.post("/o/token/", form | {"refresh_token": old["refresh_token"]})
    assert replay.json()["error"] == "invalid_grant"
    assert client.get("/api/token/", headers=bearer(new["access_token"])).status_code == 401
    assert not RefreshToken.objects.filter(revoked=None).exists()


def test_scopes_are_declared_once(settings):
    assert dict(Scopes().get_all_scopes()) == settings.APIKEYS["SCOPES"]
    assert Scopes().get_available_scopes() == list(settings.APIKEYS["SCOPES"])
