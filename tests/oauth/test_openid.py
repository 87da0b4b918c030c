"""OpenID Connect: which clients get ID tokens, and that the API refuses ID tokens."""

import base64
import hashlib
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from oauth2_provider.models import Application

from tests.factories import bearer

VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().strip("=")
QUERY = {
    "client_id": "shop",
    "response_type": "code",
    "redirect_uri": "https://shop.example/callback",
    "scope": "openid payments:read",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "nonce": "n",
    "state": "s",
}


@pytest.fixture(autouse=True)
def declared(settings):
    scopes = settings.APIKEYS["SCOPES"] | {"openid": "Log in to other sites"}
    settings.APIKEYS = settings.APIKEYS | {"SCOPES": scopes}


@pytest.fixture
def shop(db):
    return Application.objects.create(
        client_id="shop",
        name="Shop",
        client_type="confidential",
        authorization_grant_type="authorization-code",
        client_secret="secret",
        redirect_uris=QUERY["redirect_uri"],
        algorithm="RS256",
        skip_authorization=True,
    )


def authorize(client, **changes):
    """Return the query of the redirect to the client."""
    query = {name: value for name, value in (QUERY | changes).items() if value is not None}
    response = client.get("/o/authorize/", query)
    assert response.status_code == 302, response.content
    return {
        name: value for name, (value,) in parse_qs(urlsplit(response["Location"]).query).items()
    }


def exchange(client, **form):
    return client.post(
        "/o/token/",
        {
            "client_id": "shop",
            "client_secret": "secret",
            "redirect_uri": QUERY["redirect_uri"],
            "code_verifier": VERIFIER,
            "grant_type": "authorization_code",
            **form,
        },
    )


@pytest.fixture
def issued(client, ada, shop):
    client.force_login(ada)
    response = exchange(client, code=authorize(client)["code"])
    assert response.status_code == 200, response.content
    client.logout()
    return response.json()


def test_a_client_with_an_algorithm_gets_an_id_token(issued, client, ada):
    claims = json.loads(base64.urlsafe_b64decode(issued["id_token"].split(".")[1] + "=="))
    issuer = client.get("/o/.well-known/oauth-authorization-server").json()["issuer"]

    assert claims["iss"] == issuer == "http://testserver/o"
    assert (claims["aud"], claims["sub"], claims["nonce"]) == ("shop", str(ada.pk), "n")


def test_an_id_token_is_refused_as_a_credential(issued, client):
    token = issued["id_token"]

    assert client.get("/api/token/", headers=bearer(token)).status_code == 401
    assert client.post("/o/introspect/", {"token": "x"}, headers=bearer(token)).status_code == 401
    form = {"token": token, "client_id": "shop", "client_secret": "secret"}
    assert client.post("/o/introspect/", form).json() == {"active": False}


@pytest.mark.parametrize("how", ["no algorithm", "hashed secret", "no key", "off"])
def test_a_client_without_id_tokens_cannot_request_one(client, ada, shop, settings, how):
    if how == "no algorithm":
        Application.objects.update(algorithm="")
    elif how == "hashed secret":
        Application.objects.update(algorithm="HS256")
    else:
        change = {"OIDC_RSA_PRIVATE_KEY": ""} if how == "no key" else {"OIDC_ENABLED": False}
        settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | change
    client.force_login(ada)

    assert authorize(client)["error"] == "invalid_scope"
    # A request without a scope gets no ID token either.
    answer = exchange(client, code=authorize(client, scope=None)["code"]).json()
    assert "id_token" not in answer
    assert "openid" not in answer["scope"].split()


def test_a_refresh_after_the_algorithm_is_gone_is_refused(client, issued):
    Application.objects.update(algorithm="")
    form = {"grant_type": "refresh_token", "refresh_token": issued["refresh_token"]}
    response = exchange(client, **form)

    assert response.status_code in (200, 400)
    assert "id_token" not in response.json()


@pytest.mark.parametrize("prompt", ["none", "none login", "consent", "login", "create", "x"])
@pytest.mark.parametrize("skips", [True, False])
def test_every_prompt_is_answered(client, ada, shop, prompt, skips):
    Application.objects.update(skip_authorization=skips)
    client.force_login(ada)
    response = client.get("/o/authorize/", QUERY | {"prompt": prompt})

    assert response.status_code in (200, 302, 400)
    if prompt == "none":
        said = parse_qs(urlsplit(response["Location"]).query)
        assert "code" in said if skips else said["error"] == ["consent_required"]


@pytest.mark.parametrize("method", ["plain", "", None, "S512", "s256"])
def test_only_s256_is_a_code_challenge_method(client, ada, shop, settings, method):
    gates = {"COMPLIANT_BCP_RFC9700_PKCE_METHOD": False}
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | gates
    client.force_login(ada)
    query = {name: value for name, value in QUERY.items() if name != "code_challenge_method"}
    if method is not None:
        query["code_challenge_method"] = method
    response = client.get("/o/authorize/", query)

    assert "error=invalid_request" in response["Location"]
    document = client.get("/o/.well-known/oauth-authorization-server").json()
    assert document["code_challenge_methods_supported"] == ["S256"]


class TestUserInfo:
    def test_returns_the_user_of_the_token(self, issued, client, ada):
        response = client.get("/o/userinfo/", headers=bearer(issued["access_token"]))
        assert response.json() == {"sub": str(ada.pk)}
        assert response["Cache-Control"] == "no-store"

    def test_needs_the_scope(self, issued, client):
        from oauth2_provider.models import AccessToken

        AccessToken.objects.update(scope="payments:read")
        response = client.get("/o/userinfo/", headers=bearer(issued["access_token"]))
        assert response.status_code == 403
        assert 'scope="openid"' in response["WWW-Authenticate"]

    def test_refuses_a_deactivated_user_and_a_key(self, issued, client, ada):
        ada.is_active = False
        ada.save()
        response = client.get("/o/userinfo/", headers=bearer(issued["access_token"]))
        assert response.status_code == 401
        assert client.get("/o/userinfo/").status_code == 401
