"""Programs register clients for their user (RFC 7591, RFC 7592)."""

import pytest
from django.test import Client
from oauth2_provider.models import AccessToken, Application

from apikeys.oauth.scopes import Scopes
from apikeys.policy import Policy
from tests.factories import bearer, mint_pat

pytestmark = pytest.mark.filterwarnings(
    "ignore:The OAuth 2.0 resource owner password:DeprecationWarning"
)

SCOPE = "oauth2_provider:registration"
METADATA = {
    "client_name": "Ada's laptop",
    "redirect_uris": ["http://127.0.0.1/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "token_endpoint_auth_method": "none",
}


@pytest.fixture(autouse=True)
def only_users(settings):
    """The example lets anyone register a client: see ``test_unused_clients``."""
    classes = ["apikeys.oauth.registration.OwnUserPermission"]
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {
        "DCR_REGISTRATION_PERMISSION_CLASSES": classes
    }


class OneClient(Policy):
    def most_clients(self, user):
        return 1


def register(client, data=METADATA, **headers):
    return client.post("/o/register/", data, content_type="application/json", headers=headers)


@pytest.fixture
def session(client, ada):
    client.force_login(ada)
    return client


@pytest.fixture
def made(session):
    response = register(session)
    assert response.status_code == 201, response.content
    return response.json()


def test_a_logged_in_user_registers_a_client(session, ada):
    response = register(session)

    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    data = response.json()
    assert data["redirect_uris"] == METADATA["redirect_uris"]
    assert data["grant_types"] == ["authorization_code", "refresh_token"]
    assert data["token_endpoint_auth_method"] == "none"
    assert data["client_name"] == "Ada's laptop"
    assert data["registration_client_uri"].endswith(f"/o/register/{data['client_id']}/")
    assert data["client_id_issued_at"]
    assert "client_secret" not in data
    application = Application.objects.get()
    assert (application.user, application.registration_source) == (ada, "dcr")
    assert not application.skip_authorization


def test_a_secret_is_returned_with_its_expiry(session):
    """RFC 7591 section 3.2.1: client_secret_expires_at is required with a secret."""
    data = register(session, METADATA | {"token_endpoint_auth_method": "client_secret_basic"})

    assert data.json()["client_secret"]
    assert data.json()["client_secret_expires_at"] == 0
    assert Application.objects.get().client_secret != data.json()["client_secret"]


def test_an_anonymous_request_is_refused(client, db):
    response = register(client)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_an_old_session_is_refused(session, ada):
    """The tokens of a client would outlive the session."""
    stamped = session.session
    stamped["apikeys_logged_in_at"] -= 16 * 60
    stamped.save()
    response = register(session)
    assert (response.status_code, response.json()["error"]) == (401, "access_denied")
    assert not Application.objects.filter(user=ada).exists()


def test_a_session_needs_the_csrf_token(ada):
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    assert register(client).status_code == 401
    assert not Application.objects.exists()


@pytest.fixture
def token(log_in):
    return log_in(scope=f"payments:read {SCOPE}").json()["access_token"]


def test_a_token_with_the_registration_scope_registers_a_client(client, token, ada):
    response = register(client, Authorization=f"Bearer {token}")

    assert response.status_code == 201, response.content
    assert Application.objects.get(registration_source="dcr").user == ada


def test_a_token_without_the_registration_scope_is_refused(client, log_in, ada):
    plain = log_in().json()["access_token"]
    for text in (plain, mint_pat(ada).token, "made-up"):
        assert register(client, Authorization=f"Bearer {text}").status_code == 401


def test_a_registration_token_registers_no_other_clients(client, made):
    client.logout()
    token = made["registration_access_token"]
    assert register(client, Authorization=f"Bearer {token}").status_code == 401

    # Its user cannot grant it the registration scope either.
    application = Application.objects.get(client_id=made["client_id"])
    assert SCOPE not in Scopes().get_available_scopes(application=application)
    query = {
        "client_id": made["client_id"],
        "response_type": "code",
        "redirect_uri": METADATA["redirect_uris"][0],
        "scope": SCOPE,
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
    }
    client.force_login(application.user)
    assert "error=invalid_scope" in client.get("/o/authorize/", query)["Location"]


def test_the_registration_token_cannot_call_the_api(client, made):
    token = made["registration_access_token"]
    # Not even a view that requires no scope.
    for path in ("/api/payments/", "/api/token/"):
        assert client.get(path, headers=bearer(token)).status_code == 401


@pytest.mark.parametrize("source", ["dcr", "cimd"])
def test_a_self_registered_client_registers_no_other_clients(client, token, ada, source):
    Application.objects.update(registration_source=source)

    assert register(client, Authorization=f"Bearer {token}").status_code == 401
    application = Application.objects.get()
    assert SCOPE not in Scopes().get_available_scopes(application=application)


class TestAnyoneRegisters:
    """The site uses ``AllowAllDCRPermission`` of django-oauth-toolkit."""

    @pytest.fixture(autouse=True)
    def allowed(self, settings, db):
        classes = ["oauth2_provider.dcr.AllowAllDCRPermission"]
        settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {
            "DCR_REGISTRATION_PERMISSION_CLASSES": classes
        }

    def test_an_anonymous_client_has_no_user(self, client):
        response = register(
            client, METADATA | {"token_endpoint_auth_method": "client_secret_basic"}
        )

        assert response.status_code == 201, response.content
        data = response.json()
        application = Application.objects.get()
        assert (application.user, application.registration_source) == (None, "dcr")
        url, headers = (
            f"/o/register/{data['client_id']}/",
            bearer(data["registration_access_token"]),
        )
        assert client.get("/api/token/", headers=headers).status_code == 401
        assert client.get(url, headers=headers).json()["client_name"] == "Ada's laptop"
        renamed = METADATA | {
            "client_name": "Renamed",
            "token_endpoint_auth_method": "client_secret_post",
        }
        answer = client.put(url, renamed, content_type="application/json", headers=headers)
        assert answer.json()["client_name"] == "Renamed"

    def test_an_anonymous_client_gets_no_client_credentials_token(self, client):
        metadata = METADATA | {"token_endpoint_auth_method": "client_secret_basic"}
        data = register(client, metadata).json()
        form = {key: data[key] for key in ("client_id", "client_secret")}
        for grant in ("authorization-code", "client-credentials"):
            # Not even if an admin changes its grant type.
            Application.objects.update(authorization_grant_type=grant)
            response = client.post("/o/token/", form | {"grant_type": "client_credentials"})
            assert response.json()["error"] == "unauthorized_client"

    @pytest.mark.parametrize("grant", ["password", "client_credentials", "implicit"])
    def test_an_anonymous_client_gets_no_other_grant(self, client, grant):
        response = register(client, METADATA | {"grant_types": [grant]})
        assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")

    def test_a_logged_in_users_client_belongs_to_the_user(self, session, ada):
        assert register(session).status_code == 201
        assert Application.objects.get().user == ada

    def test_anonymous_clients_from_one_address_are_limited(self, client, ada, monkeypatch):
        monkeypatch.setattr("apikeys.oauth.registration.FROM_ADDRESS", 2)
        assert [register(client).status_code for _ in range(2)] == [201, 201]
        refused = register(client)
        assert (refused.status_code, refused.json()["error"]) == (429, "too_many_requests")
        assert 0 < int(refused["Retry-After"]) <= 3600
        assert register(Client(REMOTE_ADDR="192.0.2.7")).status_code == 201
        assert Application.objects.count() == 3
        client.force_login(ada)  # the policy limits users instead
        assert register(client).status_code == 201

    def test_a_cross_site_request_registers_no_client_for_the_user(self, ada):
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(ada)
        assert register(browser).status_code == 201
        assert Application.objects.get().user is None

    def test_the_consent_page_says_that_the_client_registered_itself(self, client, ada):
        data = register(client).json()
        client.force_login(ada)
        query = {
            "client_id": data["client_id"],
            "response_type": "code",
            "redirect_uri": METADATA["redirect_uris"][0],
            "scope": "payments:read",
            "code_challenge": "x" * 43,
            "code_challenge_method": "S256",
        }
        assert "registered itself" in client.get("/o/authorize/", query).content.decode()


@pytest.mark.parametrize("classes", [
    ["apikeys.oauth.registration.OwnUserPermission"],
    ["oauth2_provider.dcr.AllowAllDCRPermission"],
    ["oauth2_provider.dcr.IsAuthenticatedDCRPermission"],
])  # fmt: skip
@pytest.mark.parametrize("is_logged_in", [True, False])
def test_a_form_is_not_registration_metadata(client, ada, settings, classes, is_logged_in):
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {
        "DCR_REGISTRATION_PERMISSION_CLASSES": classes
    }
    client = Client(enforce_csrf_checks=True)  # the check would read the form
    if is_logged_in:
        client.force_login(ada)
    for content_type in ("multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        body = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--x--\r\n"
        response = client.post("/o/register/", body, content_type=content_type)
        assert response.status_code in (400, 401)
        assert response.json()["error"] in ("invalid_client_metadata", "access_denied")
        response = client.put("/o/register/x/", body, content_type=content_type)
        assert response.status_code == 401
    assert not Application.objects.exists()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_types": ["password"]}, "invalid_client_metadata"),
        ({"grant_types": ["implicit"]}, "invalid_client_metadata"),
        ({"grant_types": []}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        (
            {
                "grant_types": ["client_credentials"],
                "token_endpoint_auth_method": "client_secret_basic",
            },
            "invalid_client_metadata",
        ),
        ({"grant_types": "authorization_code"}, "invalid_client_metadata"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://app.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://localhost.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://*.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example/#x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://u:p@app.example/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": "https://app.example/"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"client_name": 7}, "invalid_client_metadata"),
        ({"client_name": "a\0b"}, "invalid_client_metadata"),
        ({"client_name": "\ud800"}, "invalid_client_metadata"),
        ({"client_name": "x" * 300}, "invalid_client_metadata"),
    ],
)
def test_errors(session, changes, error):
    """RFC 7591 section 3.2.2."""
    response = register(session, METADATA | changes)

    assert (response.status_code, response.json()["error"]) == (400, error)
    assert not Application.objects.exists()


@pytest.mark.parametrize("body", ["", "[]", "{", '"x"', "[" * 100_000], ids=len)
def test_invalid_metadata_is_refused(session, body):
    response = session.post("/o/register/", body, content_type="application/json")
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")


def test_the_policy_limits_the_number_of_clients(session, settings, made):
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": OneClient}
    assert register(session).json()["error"] == "invalid_client_metadata"


class TestManagement:
    """RFC 7592."""

    def call(self, client, made, method="get", data=None, token=None):
        return getattr(client, method)(
            f"/o/register/{made['client_id']}/",
            data,
            content_type="application/json",
            headers=bearer(token or made["registration_access_token"]),
        )

    def test_reads(self, client, made):
        data = client.get(
            f"/o/register/{made['client_id']}/", headers=bearer(made["registration_access_token"])
        ).json()
        assert data["client_name"] == "Ada's laptop"
        assert data["registration_access_token"] == made["registration_access_token"]

    def test_changes_and_gets_another_token(self, client, made):
        changed = METADATA | {"client_name": "Ada's desktop"}
        data = self.call(client, made, "put", changed).json()

        assert data["client_name"] == "Ada's desktop"
        assert self.call(client, made, "put", changed).status_code == 401
        token = data["registration_access_token"]
        assert self.call(client, made, "put", changed, token=token).status_code == 200

    @pytest.mark.parametrize(
        "changes",
        [
            {"grant_types": ["password"]},
            {"redirect_uris": ["http://evil.example/"]},
            {"token_endpoint_auth_method": "client_secret_basic"},
            {"client_id": "webapp"},
        ],
    )
    def test_does_not_become_more(self, client, made, changes):
        assert self.call(client, made, "put", METADATA | changes).status_code == 400
        application = Application.objects.get()
        assert application.authorization_grant_type == "authorization-code"
        assert application.redirect_uris == METADATA["redirect_uris"][0]

    def test_deletes_itself_and_its_tokens(self, client, made):
        assert self.call(client, made, "delete").status_code == 204
        assert not Application.objects.exists()
        assert not AccessToken.objects.exists()

    def test_not_another_client(self, session, made):
        other = register(session).json()
        token = other["registration_access_token"]
        assert self.call(session, made, "put", METADATA, token=token).status_code == 401
        assert self.call(session, made, "delete", token=token).status_code == 401
        assert Application.objects.count() == 2

    def test_not_with_its_users_own_token(self, client, made, token):
        assert self.call(client, made, "delete", token=token).status_code == 401

    @pytest.mark.parametrize("method", ["get", "put", "delete"])
    def test_not_when_its_user_is_deactivated(self, client, made, ada, method):
        ada.is_active = False
        ada.save()

        assert self.call(client, made, method).status_code == 401
        application = Application.objects.get()
        assert application.redirect_uris == METADATA["redirect_uris"][0]

        ada.is_active = True
        ada.save()
        assert self.call(client, made, "get").status_code == 200


def test_metadata_lists_what_is_on(client, settings, db):
    """RFC 8414 section 2."""
    url = "/.well-known/oauth-authorization-server/o"
    data = client.get(url).json()

    assert data["issuer"] == "http://testserver/o"
    assert data["registration_endpoint"] == "http://testserver/o/register/"
    assert data["device_authorization_endpoint"] == "http://testserver/o/device-authorization/"
    assert data["code_challenge_methods_supported"] == ["S256"]
    assert data["response_types_supported"] == ["code"]
    assert data["authorization_response_iss_parameter_supported"] is True
    assert set(data["grant_types_supported"]) == {
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "password",
    }
    # Some clients request all listed scopes, so the list leaves out the scopes that manage keys.
    assert data["scopes_supported"] == ["payments:read", "payments:write", "reports:read"]
    for name, endpoint in data.items():
        if name.endswith("_endpoint") or name == "jwks_uri":
            path = endpoint.removeprefix("http://testserver")
            assert client.get(path).status_code != 404, name
    assert client.get("/o/.well-known/oauth-authorization-server").json() == data
    assert client.get("/.well-known/oauth-authorization-server/evil").status_code == 404

    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"DCR_ENABLED": False}
    assert "registration_endpoint" not in client.get(url).json()
    settings.APIKEYS = settings.APIKEYS | {"FIRST_PARTY_CLIENTS": []}
    assert "password" not in client.get(url).json()["grant_types_supported"]


def test_metadata_of_the_resource(client, db):
    """RFC 9728 section 2."""
    data = client.get("/.well-known/oauth-protected-resource").json()

    assert data["resource"] == "http://testserver"
    assert data["authorization_servers"] == ["http://testserver/o"]
    assert data["bearer_methods_supported"] == ["header"]
    assert data["scopes_supported"] == ["payments:read", "payments:write", "reports:read"]
