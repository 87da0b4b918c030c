"""Token exchange (RFC 8693) and access tokens as JWTs (RFC 9068)."""

import base64
import json
from datetime import timedelta

import pytest
from django.test import RequestFactory
from django.utils import timezone
from joserfc import jwk, jwt
from oauth2_provider.models import AccessToken, Application

from apikeys import acceptance, lifecycle, verify
from apikeys.access import PERSONAL_ACCESS_TOKEN, PROJECT_KEY, Access
from apikeys.policy import Policy
from apikeys.refusals import Refused
from tests.factories import (
    MembershipFactory,
    ProjectFactory,
    UserFactory,
    bearer,
    mint_key,
    mint_pat,
)
from tests.oauth.conftest import SECRET

pytestmark = pytest.mark.filterwarnings(
    "ignore:The OAuth 2.0 resource owner password:DeprecationWarning"
)

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"


def exchange(client, subject, **changes):
    form = {
        "grant_type": EXCHANGE,
        "subject_token": subject,
        "subject_token_type": ACCESS_TOKEN,
    }
    return client.post("/o/token/", {k: v for k, v in (form | changes).items() if v is not None})


@pytest.fixture
def project(db):
    return ProjectFactory(slug="analytical-engine")


@pytest.fixture
def minted(project):
    return mint_key(project, scopes=["payments:write", "reports:read"])


def application(**kwargs):
    return Application.objects.create(
        **{
            "client_id": "service",
            "client_type": Application.CLIENT_CONFIDENTIAL,
            "authorization_grant_type": Application.GRANT_CLIENT_CREDENTIALS,
            "client_secret": SECRET,
        }
        | kwargs
    )


def status(client, token):
    return client.get("/api/token/", headers=bearer(token)).status_code


class TestKey:
    def test_is_exchanged_for_a_token_with_its_scopes_and_project(self, client, minted):
        response = exchange(client, minted.token)

        assert response.status_code == 200
        assert response["Cache-Control"] == "no-store"
        grant = response.json()
        assert grant["issued_token_type"] == ACCESS_TOKEN
        assert grant["token_type"] == "Bearer"
        assert grant["expires_in"] == 600
        assert grant["scope"] == "payments:write reports:read"
        access = verify.verify(grant["access_token"])
        assert access.project == minted.key.project
        assert access.key == minted.key.public_id

    def test_fewer_scopes_can_be_requested(self, client, minted):
        grant = exchange(client, minted.token, scope="reports:read").json()

        assert grant["scope"] == "reports:read"
        assert verify.verify(grant["access_token"]).scopes == {"reports:read"}

    def test_its_id_is_accepted_as_client_id(self, client, minted):
        response = exchange(client, minted.token, client_id=minted.key.public_id)
        assert response.status_code == 200

    def test_the_token_names_the_client_that_exchanged_the_key(self, client, minted):
        application()
        response = exchange(client, minted.token, client_id="service", client_secret=SECRET)

        access = verify.verify(response.json()["access_token"])
        assert (access.client.client_id, access.key) == ("service", minted.key.public_id)

    def test_revoking_the_key_ends_the_token(self, client, minted):
        token = exchange(client, minted.token).json()["access_token"]
        lifecycle.revoke(minted.key)

        assert status(client, token) == 401

    @pytest.mark.parametrize("state", ["revoked_at", "expires_at"])
    def test_an_ended_key_is_refused(self, client, minted, state):
        type(minted.key).objects.update(**{state: timezone.now()})
        response = exchange(client, minted.token)

        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")

    def test_another_key_cannot_exchange_it(self, client, minted, project):
        other = mint_key(project)
        response = exchange(
            client, minted.token, client_id=other.key.public_id, client_secret=other.token
        )
        assert response.json()["error"] == "invalid_request"


class TestExchangeOnly:
    @pytest.fixture
    def kept(self, project):
        return mint_key(project, direct_use=False)

    def test_is_refused_as_a_bearer(self, client, kept):
        response = client.get("/api/token/", headers=bearer(kept.token))

        assert (response.status_code, response.json()["code"]) == (401, "exchange_required")
        with pytest.raises(Refused, match="exchange_required"):
            verify.verify(kept.token)

    def test_is_exchanged(self, client, kept):
        form = {"client_id": kept.key.public_id, "client_secret": kept.token}
        by_credentials = client.post("/o/token/", {"grant_type": "client_credentials", **form})

        for response in (by_credentials, exchange(client, kept.token)):
            assert status(client, response.json()["access_token"]) == 200

    def test_rotation_keeps_exchange_only(self, kept):
        assert lifecycle.rotate(kept.key).key.direct_use is False

    def test_an_edit_is_recorded(self, kept):
        changes = lifecycle.edit(kept.key, direct_use=True)

        assert changes == {"direct_use": (False, True)}
        assert verify.verify(kept.token)


class TestAccessToken:
    @pytest.fixture
    def token(self, log_in):
        return log_in(scope="payments:write").json()["access_token"]

    def test_is_exchanged_by_its_client(self, client, token, ada):
        grant = exchange(client, token, client_id="webapp", scope="payments:read").json()

        access = verify.verify(grant["access_token"])
        assert (access.user, access.scopes) == (ada, {"payments:read"})
        assert grant["expires_in"] <= 300

    def test_is_exchanged_by_a_confidential_client(self, client, token):
        application()
        response = exchange(client, token, client_id="service", client_secret=SECRET)

        assert verify.verify(response.json()["access_token"]).client.client_id == "service"

    def test_is_not_exchanged_without_a_client(self, client, token):
        response = exchange(client, token)
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")

    def test_is_not_exchanged_by_another_public_client(self, client, token):
        application(client_id="cli", client_type=Application.CLIENT_PUBLIC)
        response = exchange(client, token, client_id="cli")
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")

    def test_is_not_exchanged_with_a_wrong_secret(self, client, token):
        application()
        response = exchange(client, token, client_id="service", client_secret="guessed")
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")

    def test_the_new_token_is_neither_wider_nor_longer(self, client, log_in):
        narrow = log_in(scope="payments:read").json()["access_token"]
        response = exchange(client, narrow, client_id="webapp", scope="payments:write")
        assert response.json()["error"] == "invalid_scope"

        AccessToken.objects.update(expires=timezone.now() + timedelta(seconds=20))
        assert exchange(client, narrow, client_id="webapp").json()["expires_in"] <= 20

    def test_revoking_it_ends_the_new_token(self, client, token):
        derived = exchange(client, token, client_id="webapp").json()["access_token"]
        client.post("/o/revoke_token/", {"token": token, "client_id": "webapp"})

        assert status(client, derived) == 401

    def test_an_expired_token_is_refused(self, client, token):
        AccessToken.objects.update(expires=timezone.now())
        response = exchange(client, token, client_id="webapp")
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")

    def test_a_token_of_a_deactivated_user_is_refused(self, client, token, ada):
        ada.is_active = False
        ada.save()
        assert exchange(client, token, client_id="webapp").json()["error"] == "invalid_request"

    def test_a_restricted_token_gets_no_token_for_another_service(self, client, token):
        AccessToken.objects.update(resource=["https://one.example/api"])

        for resource, answer in [
            ("https://one.example/api/part", 200),
            ("https://two.example/api", 400),
            ("https://one.example/", 400),
        ]:
            response = exchange(client, token, client_id="webapp", resource=resource)
            assert response.status_code == answer, resource
        assert response.json()["error"] == "invalid_target"
        # A request without a resource keeps the restriction.
        derived = exchange(client, token, client_id="webapp").json()["access_token"]
        assert status(client, derived) == 401


class TestChain:
    def test_never_widens(self, client, minted):
        first = exchange(client, minted.token, scope="payments:read reports:read").json()
        second = exchange(client, first["access_token"], scope="reports:read").json()

        third = exchange(client, second["access_token"], scope="payments:read")

        assert third.json()["error"] == "invalid_scope"
        assert exchange(client, second["access_token"]).json()["scope"] == "reports:read"

    def test_ends_with_the_first_token(self, client, minted):
        first = exchange(client, minted.token).json()["access_token"]
        second = exchange(client, first).json()["access_token"]
        third = exchange(client, second).json()["access_token"]
        assert status(client, third) == 200

        AccessToken.objects.order_by("pk").first().delete()
        assert status(client, third) == 401

    def test_ends_with_the_key(self, client, minted):
        first = exchange(client, minted.token).json()["access_token"]
        second = exchange(client, first).json()["access_token"]
        lifecycle.revoke(minted.key)

        assert status(client, second) == 401
        assert exchange(client, first).json()["error"] == "invalid_request"

    def test_does_not_outlive_the_first_token(self, client, minted):
        first = exchange(client, minted.token).json()["access_token"]
        AccessToken.objects.update(expires=timezone.now() + timedelta(seconds=5))

        assert exchange(client, first).json()["expires_in"] <= 5

    def test_is_narrowed_with_the_key(self, client, minted):
        first = exchange(client, minted.token).json()["access_token"]
        lifecycle.edit(minted.key, scopes=["reports:read"])

        assert exchange(client, first).json()["scope"] == "reports:read"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"subject_token": None}, "invalid_request"),
        ({"subject_token_type": None}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
         "invalid_request"),
        ({"actor_token": "x", "actor_token_type": ACCESS_TOKEN}, "invalid_request"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"audience": "some name"}, "invalid_target"),
        ({"resource": "/relative"}, "invalid_target"),
        ({"resource": "https://["}, "invalid_target"),
        ({"audience": "https://["}, "invalid_target"),
        ({"subject_token": "made-up"}, "invalid_request"),
        ({"subject_token": "acme_key_mistyped"}, "invalid_request"),
    ],
)  # fmt: skip
def test_errors(client, minted, changes, error):
    """RFC 8693 section 2.2.2."""
    response = exchange(client, minted.token, **changes)

    assert (response.status_code, response.json()["error"]) == (400, error)
    assert not AccessToken.objects.exists()


# Access tokens as JWTs


def test_a_token_is_for_every_audience_that_is_requested(client, minted, jwks):
    """RFC 8693 section 2.1 lets a request repeat the parameter."""
    both = ["https://books.example/", "https://reports.example/"]

    data = exchange(client, minted.token, requested_token_type=JWT, audience=both).json()

    assert sorted(decoded(data["access_token"], jwks).claims["aud"]) == both


def test_one_target_of_several_that_is_not_allowed_refuses_the_request(client, minted, settings):
    settings.APIKEYS = {**settings.APIKEYS, "AUDIENCES": ["https://reports.example/"]}
    both = ["https://evil.example/", "https://reports.example/"]

    response = exchange(client, minted.token, audience=both)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_target")


@pytest.fixture
def jwks(client):
    return jwk.KeySet.import_key_set(client.get("/o/.well-known/jwks.json").json())


def decoded(text, jwks):
    return jwt.decode(text, jwks, algorithms=["RS256"])


class Publishing(Policy):
    def published_metadata(self, owner):
        assert owner is not None
        return ("team",)


@pytest.mark.parametrize("is_published", [True, False])
def test_a_jwt_has_the_published_metadata_of_the_key(client, minted, jwks, settings, is_published):
    lifecycle.edit(minted.key, metadata={"team": "billing", "internal": 1})
    if is_published:
        settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.Publishing"}

    how = {"requested_token_type": JWT, "resource": "https://reports.example/"}
    claims = decoded(exchange(client, minted.token, **how).json()["access_token"], jwks).claims

    assert claims.get("metadata") == ({"team": "billing"} if is_published else None)
    lifecycle.edit(minted.key, metadata={})
    claims = decoded(exchange(client, minted.token, **how).json()["access_token"], jwks).claims
    assert "metadata" not in claims


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_token_has_the_metadata_of_its_key(client, minted, settings, is_cached):
    if is_cached:
        settings.APIKEYS = settings.APIKEYS | {"CACHE": {"TIMEOUT": 60}}
    token = exchange(client, minted.token).json()["access_token"]
    for metadata in ({}, {"team": "billing", "list": [1, None]}, {"team": "sales"}):
        lifecycle.edit(minted.key, metadata=metadata)
        for _ in range(2):
            access = verify.verify(token)
            assert (access.kind, access.metadata) == ("oauth", metadata)
    assert Access.from_dict(access.to_dict(), verify=True).metadata == {"team": "sales"}


def test_a_jwt_is_verified_offline_from_the_published_keys(client, minted, jwks):
    audience = "https://reports.example/"
    grant = exchange(
        client,
        minted.token,
        requested_token_type=JWT,
        resource=audience,
        scope="reports:read",
    ).json()

    assert grant["issued_token_type"] == JWT
    token = decoded(grant["access_token"], jwks)
    jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": "http://testserver/o"},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
    ).validate(token.claims)
    assert token.header["typ"] == "at+jwt"
    assert token.claims["sub"] == "project:analytical-engine"
    assert token.claims["client_id"] == minted.key.public_id
    assert token.claims["scope"] == "reports:read"
    assert token.claims["jti"]
    assert token.claims["exp"] - token.claims["iat"] == 600
    metadata = client.get("/o/.well-known/oauth-authorization-server").json()
    assert metadata["issuer"] == token.claims["iss"]
    assert metadata["jwks_uri"] == "http://testserver/o/.well-known/jwks.json"


def test_a_key_as_a_client_gets_a_jwt(client, db, jwks):
    minted = mint_pat()
    form = {"client_id": minted.key.public_id, "client_secret": minted.token}
    grant = client.post(
        "/o/token/",
        {"grant_type": "client_credentials", "requested_token_type": JWT, **form},
    ).json()

    assert decoded(grant["access_token"], jwks).claims["sub"] == str(minted.key.user.pk)
    assert status(client, grant["access_token"]) == 200


@pytest.fixture
def text(client, minted):
    return exchange(client, minted.token, requested_token_type=JWT).json()["access_token"]


def test_this_api_accepts_a_jwt_until_its_key_is_revoked(client, minted, text):
    assert status(client, text) == 200

    lifecycle.revoke(minted.key)
    assert status(client, text) == 401


def test_a_jwt_for_another_service_is_refused(client, minted):
    grant = exchange(
        client, minted.token, requested_token_type=JWT, audience="https://reports.example/"
    ).json()

    assert status(client, grant["access_token"]) == 401


def part(claims):
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("attack", ["none", "hmac", "claims", "unsigned"])
def test_a_forged_jwt_is_refused_without_a_query(
    client, text, jwks, attack, django_assert_num_queries
):
    header, body, signature = text.split(".")
    claims = decoded(text, jwks).claims | {"scope": "payments:write"}
    if attack == "none":
        forged = f"{part({'alg': 'none', 'typ': 'at+jwt'})}.{part(claims)}."
    elif attack == "hmac":  # uses the public key as an HMAC secret
        import hashlib
        import hmac

        signed = f"{part({'alg': 'HS256', 'typ': 'at+jwt'})}.{part(claims)}"
        public = jwks.keys[0].as_pem(private=False)
        mac = hmac.digest(public, signed.encode(), hashlib.sha256)
        forged = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    elif attack == "claims":
        forged = f"{header}.{part(claims)}.{signature}"
    else:
        forged = f"{header}.{body}."

    with django_assert_num_queries(0):
        assert status(client, forged) == 401


@pytest.mark.slow
def test_a_jwt_with_a_removed_signing_key_is_refused(client, text, settings):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    old = settings.OAUTH2_PROVIDER
    new = old | {"OIDC_RSA_PRIVATE_KEY": pem.decode()}
    settings.OAUTH2_PROVIDER = new | {
        "OIDC_RSA_PRIVATE_KEYS_INACTIVE": [old["OIDC_RSA_PRIVATE_KEY"]]
    }
    assert status(client, text) == 200

    settings.OAUTH2_PROVIDER = new
    assert status(client, text) == 401


def test_a_server_without_a_signing_key_issues_no_jwt(client, minted, settings):
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"OIDC_RSA_PRIVATE_KEY": ""}
    response = exchange(client, minted.token, requested_token_type=JWT)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


def test_a_chain_keeps_the_selected_projects_of_its_key(client, db):
    user = UserFactory()
    one = MembershipFactory(user=user).project
    MembershipFactory(user=user)
    grant = exchange(client, mint_pat(user, projects=[one]).token).json()
    again = exchange(client, grant["access_token"]).json()

    assert list(verify.verify(again["access_token"]).projects()) == [one]


def test_a_key_created_with_an_exchanged_token_does_not_outlive_it(client, project):
    """A key created over the JSON API is not wider, and ends with the first key."""
    from apikeys import scopes
    from apikeys.models import ProjectKey

    parent = mint_key(project, scopes=[scopes.KEYS_WRITE, "payments:read"])
    token = exchange(client, parent.token).json()["access_token"]

    def mint(**changes):
        body = {"name": "child", "scopes": ["payments:read"]} | changes
        url = f"/api/projects/{project.slug}/keys/"
        return client.post(url, body, content_type="application/json", headers=bearer(token))

    assert mint(expires_at=None).json()["code"] == "outlives_credential"
    soon = (timezone.now() + timedelta(minutes=5)).isoformat()
    assert mint(expires_at=soon, scopes=["payments:write"]).json()["code"] == (
        "scope_not_grantable"
    )
    made = mint(expires_at=soon)
    assert made.status_code == 201, made.content
    assert made.json()["minted_with"] == parent.key.public_id
    lifecycle.revoke(parent.key)
    assert ProjectKey.objects.get(public_id=made.json()["id"]).revoked_at is not None


def test_an_exchanged_token_enters_only_where_its_key_may(client, ada):
    for minted, kind in ((mint_pat(ada), PERSONAL_ACCESS_TOKEN), (mint_key(), PROJECT_KEY)):
        issued = exchange(client, minted.token).json()["access_token"]
        access = verify.verify(issued, RequestFactory().get("/"))

        acceptance.check(access, ["oauth", kind])
        for kinds in (["oauth"], [kind]):
            with pytest.raises(Refused, match="credential_not_accepted"):
                acceptance.check(access, kinds)
