"""OAuth access tokens use the same header and the same ``request.auth`` as keys."""

import hashlib
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, RefreshToken

from apikeys import grants, verify
from apikeys.access import Access
from apikeys.errors import LifecycleError
from apikeys.models import PersonalAccessToken
from apikeys.oauth import bearer as bearer_module
from apikeys.oauth.models import ClientSettings
from apikeys.oauth.validators import Validator
from apikeys.refusals import Refused
from tests.factories import MembershipFactory, bearer, mint_pat

# The token endpoint warns about the password grant, which the example enables.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The OAuth 2.0 resource owner password:DeprecationWarning"
)


def whoami(client, token):
    return client.get("/api/token/", headers=bearer(token))


@pytest.fixture
def token(log_in):
    return log_in().json()["access_token"]


def stored(token):
    return AccessToken.objects.get(token_checksum=hashlib.sha256(token.encode()).hexdigest())


def test_request_auth_describes_the_token(client, token, ada):
    response = whoami(client, token)

    assert response.status_code == 200
    row = stored(token)
    assert response.json() == {
        "kind": "oauth",
        "id": str(row.pk),
        "name": "Web app",
        "user": "ada",
        "project": None,
        "client": "webapp",
        "scopes": ["payments:read"],
        "projects": ["analytical-engine"],
        "expires_at": row.expires.isoformat(),
    }


def test_verification_costs_one_query(token, django_assert_num_queries):
    with django_assert_num_queries(1):
        access = verify.verify(token)
        assert access.user.username == "ada"
        assert access.client.client_id == "webapp"


def test_a_missing_scope_is_refused(client, log_in):
    token = log_in(scope="reports:read").json()["access_token"]

    response = client.get("/api/payments/", headers=bearer(token))

    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"
    assert 'error="insufficient_scope"' in response["WWW-Authenticate"]
    assert 'scope="payments:read"' in response["WWW-Authenticate"]


def test_a_token_reaches_the_current_projects_of_its_user(client, token, ada):
    MembershipFactory(user=ada, project__slug="compiler", role="viewer")
    assert whoami(client, token).json()["projects"] == ["analytical-engine", "compiler"]

    ada.project_memberships.all().delete()
    assert whoami(client, token).json()["projects"] == []


def test_a_wide_token_gives_a_viewer_no_write_access(log_in, ada):
    project = MembershipFactory(user=ada, role="viewer").project
    access = verify.verify(log_in(scope="payments:write").json()["access_token"])

    assert access.allows("payments:write")
    assert access.allows("payments:read", project=project)
    assert not access.allows("payments:write", project=project)


def test_the_database_stores_no_usable_token(log_in):
    grant = log_in().json()

    assert [row.token for row in AccessToken.objects.all()] == [""]
    assert [row.token for row in RefreshToken.objects.all()] == [""]
    assert stored(grant["access_token"])


def code_of_refusal(client, token):
    response = whoami(client, token)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith('Bearer realm="api", error="invalid_token"')
    return response.json()["code"]


def test_an_unknown_token_is_refused(client, db):
    assert code_of_refusal(client, "nobody-has-made-this-one") == "invalid_token"


def test_an_expired_token_is_refused(client, token):
    AccessToken.objects.update(expires=timezone.now() - timedelta(seconds=1))

    assert code_of_refusal(client, token) == "invalid_token"


@pytest.mark.parametrize("end", ["expires", "is revoked", "loses its user"])
def test_a_token_that_ends_during_the_request_creates_no_key(log_in, ada, end):
    token = log_in(scope="payments:read keys:write").json()["access_token"]
    within = grants.for_tokens(ada, verify.verify(token))
    if end == "expires":
        AccessToken.objects.update(expires=timezone.now() - timedelta(seconds=1))
    elif end == "is revoked":
        AccessToken.objects.get().revoke()
    else:
        type(ada).objects.update(is_active=False)
    with pytest.raises(LifecycleError) as caught:
        mint_pat(ada, expires_at=timezone.now() + timedelta(minutes=1), within=within)
    assert caught.value.code in ("credential_changed", "inactive_user")
    assert not PersonalAccessToken.objects.exists()


def test_a_revoked_token_is_refused_at_the_next_request(client, token):
    client.post("/o/revoke_token/", {"token": token, "client_id": "webapp"})

    assert code_of_refusal(client, token) == "invalid_token"


def test_the_token_of_a_deactivated_user_is_refused(client, token, ada):
    ada.is_active = False
    ada.save()

    assert code_of_refusal(client, token) == "inactive_user"


def test_a_token_for_another_resource_is_refused(client, token):
    """RFC 8707 section 2: an audience that is not this API."""
    AccessToken.objects.update(resource=["https://elsewhere.example/api"])

    assert code_of_refusal(client, token) == "invalid_token"
    with pytest.raises(Refused, match="invalid_token"):
        verify.verify(token)  # no request, so no audience to compare with


def test_a_token_for_this_resource_is_accepted(client, token):
    AccessToken.objects.update(resource=["http://testserver/api/"])

    assert whoami(client, token).status_code == 200


@pytest.mark.parametrize("where", ["its own", "beside it"])
def test_a_users_client_gets_no_client_credentials_token(client, ada, where):
    """Such a token could have any scope. The client has the grant by mistake or from before."""
    app = Application.objects.create(
        user=ada,
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
        client_secret="s",
    )
    if where == "beside it":
        Application.objects.update(authorization_grant_type="authorization-code")
        ClientSettings.objects.create(application=app, grant_types="client_credentials")
    form = {"client_id": app.client_id, "client_secret": "s", "scope": "payments:read"}

    response = client.post("/o/token/", form | {"grant_type": "client_credentials"})

    assert (response.status_code, response.json()) == (400, {"error": "unauthorized_client"})
    assert not AccessToken.objects.exists()


def test_a_client_credentials_token_is_refused_once_its_client_has_a_user(client, ada):
    app = Application.objects.create(
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
        client_secret="s",
    )
    form = {"client_id": app.client_id, "client_secret": "s", "grant_type": "client_credentials"}
    text = client.post("/o/token/", form).json()["access_token"]
    assert whoami(client, text).status_code == 200

    app.user = ada
    app.save()

    assert whoami(client, text).status_code == 401


def test_a_token_without_a_user_reaches_no_project(client, db):
    """The client credentials grant of django-oauth-toolkit acts as the client."""
    secret = "a-secret-of-the-client"
    app = Application.objects.create(
        name="Robot",
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
        client_secret=secret,
    )
    grant = client.post(
        "/o/token/",
        {
            "grant_type": "client_credentials",
            "client_id": app.client_id,
            "client_secret": secret,
            "scope": "payments:write",
        },
    ).json()

    facts = whoami(client, grant["access_token"]).json()
    assert (facts["user"], facts["client"], facts["projects"]) == (None, app.client_id, [])
    payments = client.get("/api/payments/", headers=bearer(grant["access_token"]))
    assert (payments.status_code, payments.json()) == (200, [])
    access = verify.verify(grant["access_token"])
    assert access.principal.is_authenticated
    assert access.principal.pk is None
    assert str(access.principal) == f"client:{app.client_id}"


def test_a_malformed_key_is_not_looked_up_as_a_token(client, connection_of_tests):
    with CaptureQueriesContext(connection_of_tests) as queries:
        response = whoami(client, "acme_pat_mistyped")

    assert response.json()["code"] == "malformed_key"
    assert len(queries) == 0


@pytest.fixture
def connection_of_tests(db):
    from django.db import connection

    connection.ensure_connection()
    return connection


def test_token_and_password_hash_are_not_fetched(log_in, settings):
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": False,
    }
    text = log_in().json()["access_token"]
    assert stored(text).token == text

    token = bearer_module.validate(text, None)

    assert "token" in token.get_deferred_fields()
    assert "password" in token.user.get_deferred_fields()
    assert "client_secret" in token.application.get_deferred_fields()
    assert token.application.redirect_uris == ""  # a deferred field loads on access


class Picky(Validator):
    def validate_bearer_token(self, token, scopes, request):
        return super().validate_bearer_token(token, scopes, request) and len(token) < 5


def test_a_custom_validator_decides(client, token, settings):
    assert whoami(client, token).status_code == 200

    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "OAUTH2_VALIDATOR_CLASS": f"{__name__}.Picky",
    }
    assert code_of_refusal(client, token) == "invalid_token"


def test_a_token_of_another_server_is_introspected(client, db, settings, monkeypatch):
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "RESOURCE_SERVER_INTROSPECTION_URL": "https://elsewhere.example/introspect/",
        "RESOURCE_SERVER_AUTH_TOKEN": "of-this-server",
    }

    def introspect(self, token, *args):
        return AccessToken.objects.create(
            token=token, scope="payments:read", expires=timezone.now() + timedelta(minutes=1)
        )

    monkeypatch.setattr(Validator, "_get_token_from_authentication_server", introspect)

    assert whoami(client, "known-elsewhere").json()["scopes"] == ["payments:read"]


def test_a_token_of_an_unusable_application_is_refused(client, token, monkeypatch):
    assert whoami(client, token).status_code == 200

    monkeypatch.setattr(Application, "is_usable", lambda application, request: False)

    assert code_of_refusal(client, token) == "invalid_token"


class TestResolversOfTheSite:
    """A resolver of the site is called for tokens that OAuth does not know."""

    @pytest.fixture
    def register(self):
        registered = []

        def register(resolver, **how):
            verify.register(resolver, **how)
            registered.append(resolver)

        yield register
        for resolver in registered:
            verify.unregister(resolver)

    @staticmethod
    def of_site(text, request):
        if text == "from-elsewhere":
            return Access(kind="elsewhere", credential_id="1", name="x", scope="payments:read")
        return None

    @pytest.mark.parametrize("first", [False, True])
    def test_a_resolver_is_called_before_or_after_oauth(self, db, register, first):
        register(self.of_site, first=first)
        assert verify.verify("from-elsewhere").kind == "elsewhere"
        assert async_to_sync(verify.averify)("from-elsewhere").kind == "elsewhere"
        for text in ("nobody-knows", "ey.not.one"):
            with pytest.raises(Refused, match="invalid_token"):
                verify.verify(text)

    def test_resolvers_are_called_in_order(self, db, register):
        asked = []
        for name in ("one", "two"):
            register(lambda text, request, name=name: asked.append(name))
        with pytest.raises(Refused, match="invalid_token"):
            verify.verify("nobody-knows")
        assert asked == ["one", "two"]
