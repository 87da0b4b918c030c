"""Introspection (RFC 7662) and revocation (RFC 7009) of keys and tokens."""

import base64
from datetime import timedelta

import pytest
from django.utils import timezone
from oauth2_provider.models import AccessToken

from apikeys import lifecycle, usage, verify
from apikeys.policy import Policy
from apikeys.refusals import Refused
from tests.factories import ProjectFactory, UserFactory, bearer, mint_key, mint_pat
from tests.oauth.conftest import SECRET

pytestmark = pytest.mark.filterwarnings(
    "ignore:The OAuth 2.0 resource owner password:DeprecationWarning"
)

DEAD = {"active": False}


class AtHome(Policy):
    def allowed_networks(self, owner):
        return ["203.0.113.0/24"]


@pytest.fixture
def introspect(client, service):
    def introspect(token):
        form = {"token": token, "client_id": "service", "client_secret": SECRET}
        response = client.post("/o/introspect/", form)
        assert response.status_code == 200
        assert response["Cache-Control"] == "no-store"
        return response.json()

    return introspect


@pytest.fixture
def minted(db):
    return mint_key(ProjectFactory(slug="difference-engine"))


def token_of(client, minted, **changes):
    form = {"client_id": minted.key.public_id, "client_secret": minted.token}
    form |= {"grant_type": "client_credentials"} | changes
    return client.post("/o/token/", form).json()["access_token"]


class Claiming(Policy):
    def claims(self, subject):
        return {"metadata": {"team": "forged"}}


class TestIntrospection:
    def test_a_project_key_is_active(self, introspect, minted):
        assert introspect(minted.token) == {
            "active": True,
            "scope": "payments:read",
            "token_type": "Bearer",
            "client_id": minted.key.public_id,
            "project": "difference-engine",
            "sub": "project:difference-engine",
        }

    def test_a_personal_access_token_is_active(self, introspect, db):
        ends = timezone.now() + timedelta(days=1)
        minted = mint_pat(UserFactory(username="ada"), expires_at=ends)

        facts = introspect(minted.token)

        assert facts["username"] == "ada"
        assert facts["sub"] == str(minted.key.user.pk)
        assert facts["exp"] == int(ends.timestamp())

    def test_a_token_issued_for_a_key_is_active(self, client, introspect, minted):
        facts = introspect(token_of(client, minted, resource="https://one.example/"))

        assert facts["active"] is True
        assert facts["client_id"] == minted.key.public_id
        assert facts["project"] == "difference-engine"
        assert facts["aud"] == ["https://one.example/"]
        assert facts["exp"] <= int(timezone.now().timestamp()) + 600

    def test_metadata_of_the_key_is_told(self, client, introspect, minted):
        token = token_of(client, minted)
        for text in (minted.token, token):
            assert "metadata" not in introspect(text)
        lifecycle.edit(minted.key, metadata={"team": "billing", "list": [1]})
        for text in (minted.token, token):
            assert introspect(text)["metadata"] == {"team": "billing", "list": [1]}
            shown = client.get("/api/token/", headers=bearer(text)).json()
            assert shown["metadata"] == {"team": "billing", "list": [1]}

    def test_claims_of_the_policy_do_not_replace_the_metadata(self, introspect, minted, settings):
        settings.APIKEYS = settings.APIKEYS | {"POLICY": Claiming}
        lifecycle.edit(minted.key, metadata={"team": "billing"})
        assert introspect(minted.token)["metadata"] == {"team": "billing"}
        lifecycle.edit(minted.key, metadata={})
        assert "metadata" not in introspect(minted.token)

    def test_an_oauth_token_is_active(self, introspect, log_in):
        facts = introspect(log_in().json()["access_token"])

        assert (facts["username"], facts["client_id"]) == ("ada", "webapp")

    @pytest.mark.parametrize(
        "change", ["revoked_at", "expires_at", "is_pending", "paused_at", "direct_use"]
    )
    def test_an_ended_key_is_inactive_without_a_reason(self, introspect, minted, change):
        value = {"is_pending": True, "direct_use": False}.get(change, timezone.now())
        type(minted.key).objects.update(**{change: value})

        assert introspect(minted.token) == DEAD

    @pytest.mark.parametrize("bound", ["by itself", "by the policy"])
    def test_the_callers_address_is_not_checked(self, client, introspect, minted, settings, bound):
        """Only the service that received the credential knows its address."""
        token = token_of(client, minted)
        if bound == "by itself":
            lifecycle.edit(minted.key, allowed_networks=["203.0.113.0/24"])
        else:
            settings.APIKEYS = settings.APIKEYS | {"POLICY": AtHome}

        for text in (minted.token, token):
            assert introspect(text)["active"] is True
        with pytest.raises(Refused, match="ip_not_allowed"):
            verify.verify(minted.token)

        lifecycle.revoke(minted.key)
        for text in (minted.token, token):
            assert introspect(text) == DEAD

    def test_a_token_of_a_revoked_key_is_inactive(self, client, introspect, minted):
        token = token_of(client, minted)
        lifecycle.revoke(minted.key)

        assert introspect(token) == DEAD

    def test_a_token_of_a_narrowed_key_has_the_narrower_scope(self, client, introspect, db):
        minted = mint_key(scopes=["payments:write", "reports:read"])
        token = token_of(client, minted)
        lifecycle.edit(minted.key, scopes=["reports:read"])

        assert introspect(token)["scope"] == "reports:read"

    def test_a_token_of_a_deactivated_user_is_inactive(self, client, introspect, log_in, ada):
        token = log_in().json()["access_token"]
        ada.is_active = False
        ada.save()

        assert introspect(token) == DEAD

    @pytest.mark.parametrize("token", ["made-up", "acme_key_mistyped", "a.b.c", "\x00"])
    def test_an_unknown_token_is_inactive(self, introspect, token):
        assert introspect(token) == DEAD

    def test_introspection_does_not_count_as_a_use(self, introspect, minted):
        usage.flush()
        introspect(minted.token)
        assert usage.flush() == 0

    @pytest.mark.parametrize(
        "credentials",
        [{}, {"client_id": "service"}, {"client_id": "service", "client_secret": "guessed"}],
    )
    def test_an_unauthenticated_client_is_refused(self, client, service, minted, credentials):
        response = client.post("/o/introspect/", {"token": minted.token} | credentials)

        assert response.status_code == 401
        assert response.json()["error"] == "invalid_client"
        assert response["WWW-Authenticate"]

    def test_a_public_client_is_refused(self, client, webapp, minted):
        pair = base64.b64encode(b"webapp:").decode()
        for form, headers in [
            ({"client_id": "webapp", "client_secret": ""}, {}),
            ({}, {"Authorization": f"Basic {pair}"}),
        ]:
            response = client.post(
                "/o/introspect/", {"token": minted.token} | form, headers=headers
            )
            assert response.status_code == 401

    @pytest.mark.parametrize("source", ["dcr", "cimd"])
    def test_a_client_that_anyone_could_register_is_refused(self, client, service, minted, source):
        service.registration_source = source
        service.save()
        form = {"token": minted.token, "client_id": "service", "client_secret": SECRET}
        response = client.post("/o/introspect/", form)
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")

        service.user = UserFactory()
        service.save()
        assert client.post("/o/introspect/", form).json()["active"] is True

    def test_a_key_is_refused_as_the_caller(self, client, minted):
        other = mint_key()
        form = {"client_id": other.key.public_id, "client_secret": other.token}
        response = client.post("/o/introspect/", {"token": minted.token} | form)
        assert response.status_code == 401

        response = client.post(
            "/o/introspect/", {"token": minted.token}, headers=bearer(other.token)
        )
        assert response.status_code == 401

    def test_get_is_refused(self, client, service, minted):
        pair = base64.b64encode(f"service:{SECRET}".encode()).decode()
        basic = {"Authorization": f"Basic {pair}"}
        response = client.get("/o/introspect/", {"token": minted.token}, headers=basic)
        assert response.status_code == 405

    def test_a_missing_token_is_refused(self, client, service):
        form = {"client_id": "service", "client_secret": SECRET}
        response = client.post("/o/introspect/", form)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


class TestRevocation:
    def revoke(self, client, token, **form):
        return client.post("/o/revoke_token/", {"token": token} | form)

    def as_itself(self, minted):
        return {"client_id": minted.key.public_id, "client_secret": minted.token}

    def test_a_key_revokes_itself(self, client, minted):
        response = self.revoke(client, minted.token, **self.as_itself(minted))

        assert response.status_code == 200
        minted.key.refresh_from_db()
        assert minted.key.revoked_at is not None
        assert client.get("/api/token/", headers=bearer(minted.token)).status_code == 401

    def test_a_client_revokes_a_key(self, client, service, minted):
        hint = {"token_type_hint": "refresh_token"}  # RFC 7009 section 2.1: only a hint
        form = {"client_id": "service", "client_secret": SECRET}
        assert self.revoke(client, minted.token, **form, **hint).status_code == 200

        minted.key.refresh_from_db()
        assert minted.key.revoked_at is not None

    @pytest.mark.parametrize("change", [{"is_pending": True}, {"direct_use": False}])
    def test_a_temporarily_refused_key_is_revoked(self, client, service, minted, change):
        type(minted.key).objects.update(**change)
        self.revoke(client, minted.token, client_id="service", client_secret=SECRET)

        minted.key.refresh_from_db()
        assert minted.key.revoked_at is not None

    def test_an_incomplete_key_is_not_revoked(self, client, service, minted):
        form = {"client_id": "service", "client_secret": SECRET}
        for guess in (minted.key.public_id, minted.token[:-1], minted.token[:-6] + "000000"):
            assert self.revoke(client, guess, **form).status_code == 200

        minted.key.refresh_from_db()
        assert minted.key.revoked_at is None

    def test_a_key_revokes_its_token(self, client, minted):
        token = token_of(client, minted)
        other = token_of(client, minted)
        self.revoke(client, token, **self.as_itself(minted))

        assert client.get("/api/token/", headers=bearer(token)).status_code == 401
        assert client.get("/api/token/", headers=bearer(other)).status_code == 200
        assert client.get("/api/token/", headers=bearer(minted.token)).status_code == 200

    def test_a_token_of_another_client_is_not_revoked(self, client, service, minted, log_in):
        """RFC 7009 section 2.1: the token must have been issued to the client."""
        token, of_a_user = token_of(client, minted), log_in().json()["access_token"]
        stranger = self.as_itself(mint_key())
        for text in (token, of_a_user):
            assert self.revoke(client, text, **stranger).status_code == 200
            form = {"client_id": "service", "client_secret": SECRET}
            assert self.revoke(client, text, **form).status_code == 200

        assert AccessToken.objects.count() == 2

    def test_an_unauthenticated_client_is_refused(self, client, minted):
        assert self.revoke(client, minted.token).status_code == 401
        response = self.revoke(
            client, minted.token, client_id=minted.key.public_id, client_secret=minted.token[:-1]
        )
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
        minted.key.refresh_from_db()
        assert minted.key.revoked_at is None

    def test_a_refused_basic_login_gets_a_basic_challenge(self, client, minted):
        pair = base64.b64encode(f"service:{SECRET}".encode()).decode()
        response = client.post(
            "/o/revoke_token/", {"token": minted.token}, headers={"Authorization": f"Basic {pair}"}
        )
        assert response.status_code == 401
        assert response["WWW-Authenticate"].startswith("Basic ")

    def test_an_unknown_token_is_not_an_error(self, client, minted):
        """RFC 7009 section 2.2."""
        for text in ("made-up", "acme_pat_mistyped"):
            assert self.revoke(client, text, **self.as_itself(minted)).status_code == 200
