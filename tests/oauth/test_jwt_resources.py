"""Access tokens for the services in ``JWT_RESOURCES`` are JWTs (RFC 9068), by every grant."""

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwk, jwt
from oauth2_provider.models import AccessToken, Application

from apikeys.oauth import authorizations
from apikeys.oauth.checks import check_oauth
from apikeys.policy import Policy
from tests.factories import bearer, mint_pat
from tests.oauth.conftest import REDIRECT, SECRET, VERIFIER
from tests.oauth.test_exchange import JWT, exchange

MCP, OTHER = "https://mcp.example/mcp", "https://other.example/"
OWN = "http://testserver/api/"


class Plans(Policy):
    def claims(self, subject):
        return {"plan": "pro", "sub": "root", "aud": "https://evil.example"}


@pytest.fixture(autouse=True)
def listed(settings):
    settings.APIKEYS = settings.APIKEYS | {"JWT_RESOURCES": [MCP, OWN]}


@pytest.fixture
def jwks(client):
    return jwk.KeySet.import_key_set(client.get("/o/.well-known/jwks.json").json())


@pytest.fixture
def grant(visitor, query):
    """Return a function that logs ada in to the app; its answer is the token response."""

    def grant(asked=MCP, **changes):
        form = query | {"allow": "Authorize", "resource": asked}
        response = visitor.post("/o/authorize/", {k: v for k, v in form.items() if v})
        (code,) = parse_qs(urlsplit(response["Location"]).query)["code"]
        form = {"grant_type": "authorization_code", "client_id": "app", "code": code}
        form |= {"redirect_uri": REDIRECT, "code_verifier": VERIFIER} | changes
        return visitor.post("/o/token/", form).json()

    return grant


@pytest.fixture
def introspect(client, service):
    def introspect(token):
        form = {"token": token, "client_id": "service", "client_secret": SECRET}
        return client.post("/o/introspect/", form).json()

    return introspect


def decoded(text, jwks):
    return jwt.decode(text, jwks, algorithms=["RS256"])


def refresh(client, made, **changes):
    form = {"grant_type": "refresh_token", "client_id": "app"}
    return client.post(
        "/o/token/", form | {"refresh_token": made["refresh_token"]} | changes
    ).json()


def test_a_code_gives_a_jwt_that_is_verified_offline(grant, jwks, ada):
    made = grant()
    token = decoded(made["access_token"], jwks)
    jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": "http://testserver/o"},
        aud={"essential": True, "value": MCP},
        exp={"essential": True},
    ).validate(token.claims)
    assert token.header["typ"] == "at+jwt"
    assert token.claims["sub"] == str(ada.pk)
    assert token.claims["client_id"] == "app"
    assert token.claims["scope"] == made["scope"] == "payments:read reports:read"
    assert token.claims["jti"]
    assert token.claims["exp"] - token.claims["iat"] == made["expires_in"]
    assert "." not in made["refresh_token"]


def test_each_token_has_an_id_of_its_own(grant, jwks):
    ids = {decoded(grant()["access_token"], jwks).claims["jti"] for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize("resource", [None, OTHER, "https://mcp.example/", "https://mcp.example/x"])
def test_other_tokens_are_opaque(grant, resource):
    assert "." not in grant(resource)["access_token"]


def test_a_path_below_is_covered(grant, jwks):
    text = grant(f"{MCP}/tools")["access_token"]
    assert decoded(text, jwks).claims["aud"] == f"{MCP}/tools"


def test_a_token_request_cannot_name_another_resource(grant, jwks):
    assert grant(OTHER, resource=MCP)["error"] == "invalid_target"
    assert not AccessToken.objects.exists()
    # Without a resource at the authorization endpoint, the token request can name it.
    assert decoded(grant(None, resource=MCP)["access_token"], jwks).claims["aud"] == MCP


def test_refreshing_gives_a_jwt_and_ends_the_old_one(grant, client, jwks, introspect):
    made = grant()
    new = refresh(client, made)
    assert decoded(new["access_token"], jwks).claims["aud"] == MCP
    assert introspect(new["access_token"])["active"]
    assert not introspect(made["access_token"])["active"]
    assert refresh(client, new, resource=OTHER)["error"] == "invalid_target"


def test_refreshing_without_rotation_gives_a_jwt(grant, client, jwks, introspect, settings):
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"ROTATE_REFRESH_TOKEN": False}
    made = grant()
    new = refresh(client, made)
    assert decoded(new["access_token"], jwks).claims["aud"] == MCP
    assert introspect(new["access_token"])["active"]
    assert not introspect(made["access_token"])["active"]


def test_fewer_scopes_are_in_the_jwt(grant, client, jwks):
    new = refresh(client, grant(), scope="payments:read payments:read")
    assert decoded(new["access_token"], jwks).claims["scope"] == new["scope"] == "payments:read"


@pytest.mark.slow
def test_revocation_takes_effect_here_at_once(grant, client, introspect, app, ada):
    made = grant(OWN)
    text = made["access_token"]
    assert text.count(".") == 2
    assert client.get("/api/token/", headers=bearer(text)).json()["user"] == "ada"
    assert introspect(text)["aud"] == [OWN]

    client.post("/o/revoke_token/", {"token": text, "client_id": "app"})
    assert client.get("/api/token/", headers=bearer(text)).status_code == 401
    assert introspect(text) == {"active": False}

    text = grant(OWN)["access_token"]
    authorizations.end(app, ada)
    assert client.get("/api/token/", headers=bearer(text)).status_code == 401


def test_a_token_for_another_service_is_refused_here(grant, client):
    assert client.get("/api/token/", headers=bearer(grant()["access_token"])).status_code == 401


def test_claims_of_the_policy_override_none(grant, jwks, ada, settings):
    settings.APIKEYS = settings.APIKEYS | {"POLICY": Plans}
    claims = decoded(grant()["access_token"], jwks).claims
    assert (claims["plan"], claims["sub"], claims["aud"]) == ("pro", str(ada.pk), MCP)


def test_a_client_of_the_site_is_its_own_subject(client, service, jwks):
    form = {"grant_type": "client_credentials", "client_id": "service", "client_secret": SECRET}
    text = client.post("/o/token/", form | {"resource": MCP}).json()["access_token"]
    claims = decoded(text, jwks).claims
    assert (claims["sub"], claims["client_id"]) == ("service", "service")
    text = client.post("/o/token/", form | {"resource": [MCP, OTHER]}).json()["access_token"]
    assert decoded(text, jwks).claims["aud"] == [MCP, OTHER]


def test_the_subject_of_a_users_own_client_is_the_user(client, ada, jwks, settings):
    class Alone(Policy):
        def client_grant_types(self, user):
            return ("client_credentials",)

    settings.APIKEYS = settings.APIKEYS | {"POLICY": Alone}
    from apikeys.oauth import own_clients

    application = Application.objects.create(
        client_id="own",
        user=ada,
        client_type="confidential",
        authorization_grant_type="client-credentials",
        client_secret=SECRET,
    )
    own_clients.allow(application, ["payments:read"], None)
    form = {"grant_type": "client_credentials", "client_id": "own", "client_secret": SECRET}
    text = client.post("/o/token/", form | {"resource": MCP}).json()["access_token"]
    claims = decoded(text, jwks).claims
    assert (claims["sub"], claims["client_id"]) == (str(ada.pk), "own")


def test_an_exchange_gives_a_jwt_unasked(client, ada, jwks):
    minted = mint_pat(ada)
    made = exchange(client, minted.token, resource=MCP).json()
    assert decoded(made["access_token"], jwks).claims["aud"] == MCP
    assert "." not in exchange(client, minted.token, resource=OTHER).json()["access_token"]
    made = exchange(client, minted.token, resource=OTHER, requested_token_type=JWT).json()
    assert decoded(made["access_token"], jwks).claims["aud"] == OTHER


def test_the_id_token_names_the_jwt(client, ada, settings, jwks):
    scopes = settings.APIKEYS["SCOPES"] | {"openid": "Log in to other sites"}
    settings.APIKEYS = settings.APIKEYS | {"SCOPES": scopes}
    from tests.oauth import test_openid as openid

    Application.objects.create(
        client_id="shop",
        client_type="confidential",
        authorization_grant_type="authorization-code",
        client_secret=SECRET,
        redirect_uris=openid.QUERY["redirect_uri"],
        algorithm="RS256",
        skip_authorization=True,
    )
    client.force_login(ada)
    code = openid.authorize(client, resource=MCP)["code"]
    form = {"grant_type": "authorization_code", "client_id": "shop", "client_secret": SECRET}
    form |= {"redirect_uri": openid.QUERY["redirect_uri"], "code_verifier": openid.VERIFIER}
    made = client.post("/o/token/", form | {"code": code}).json()
    digest = hashlib.sha256(made["access_token"].encode()).digest()[:16]
    half = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert decoded(made["access_token"], jwks).claims["aud"] == MCP
    assert decoded(made["id_token"], jwks).claims["at_hash"] == half


@pytest.mark.slow
def test_an_invalid_target_is_refused(grant):
    for resource in ("mcp.example", "https://[", "https://mcp.example/#x"):
        assert grant(None, resource=resource)["error"] == "invalid_target"
    assert not AccessToken.objects.exists()


def test_a_site_without_public_keys_is_told(grant, settings):
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"OIDC_RSA_PRIVATE_KEY": ""}
    assert "apikeys.E133" in [error.id for error in check_oauth()]
    assert grant()["error"] == "invalid_request"
    assert grant(OTHER)["access_token"]

    settings.APIKEYS = settings.APIKEYS | {"JWT_RESOURCES": []}
    assert "apikeys.E133" not in [error.id for error in check_oauth()]
    assert grant()["access_token"]


@pytest.mark.parametrize(
    "wrong", ["https://mcp.example/", ["mcp"], ["https://mcp.example/#x"], [1]]
)
def test_invalid_settings_are_a_check_error(settings, wrong):
    settings.APIKEYS = settings.APIKEYS | {"JWT_RESOURCES": wrong}
    assert "apikeys.E132" in [error.id for error in check_oauth()]
