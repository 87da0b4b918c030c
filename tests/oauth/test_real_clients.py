"""Third-party clients against the example: Authlib, requests-oauthlib and httpx-oauth."""

import asyncio
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session as Authlib
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from httpx_oauth.oauth2 import OAuth2 as HttpxOAuth
from httpx_oauth.oauth2 import RefreshTokenError
from joserfc import jwk, jwt
from oauth2_provider.models import Application
from oauthlib.oauth2 import (
    BackendApplicationClient,
    DeviceClient,
    LegacyApplicationClient,
    OAuth2Error,
)
from requests_oauthlib import OAuth2Session as RequestsOAuthlib

from tests.factories import PASSWORD, mint_key

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:The OAuth 2.0 resource owner password:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def plain_http(monkeypatch):
    """The example runs on this machine, without TLS."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.fixture
def url(live_server):
    return lambda path: live_server.url + path


@pytest.fixture
def minted(db):
    return mint_key(scopes=["payments:write", "reports:read"])


# A key as a client


def test_authlib_with_a_key(url, minted):
    with Authlib(minted.key.public_id, minted.token, scope="payments:read") as session:
        token = session.fetch_token(url("/o/token/"), grant_type="client_credentials")
        assert token["scope"] == "payments:read"
        facts = session.get(url("/api/token/")).json()
    assert facts["project"] == minted.key.project.slug


def test_requests_oauthlib_with_a_key(url, minted):
    client = BackendApplicationClient(client_id=minted.key.public_id)
    with RequestsOAuthlib(client=client) as session:
        session.fetch_token(
            url("/o/token/"), client_id=minted.key.public_id, client_secret=minted.token
        )
        assert session.get(url("/api/token/")).json()["key"] == minted.key.public_id


def test_a_jwt_is_verified_offline(url, minted):
    """The client needs only the metadata and the JWKS that it links to."""
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": minted.token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "requested_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "audience": "https://reports.example/",
    }
    text = requests.post(url("/o/token/"), form, timeout=10).json()["access_token"]
    metadata = requests.get(url("/.well-known/oauth-authorization-server/o"), timeout=10).json()
    keys = jwk.KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=10).json())

    token = jwt.decode(text, keys, algorithms=["RS256"])
    jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": metadata["issuer"]},
        aud={"essential": True, "value": "https://reports.example/"},
        exp={"essential": True},
    ).validate(token.claims)
    assert token.header["typ"] == "at+jwt"


# The password grant of the first-party client


def test_authlib_with_a_password(url, ada, webapp):
    with Authlib("webapp", token_endpoint_auth_method="none") as session:
        session.fetch_token(url("/o/token/"), username="ada", password=PASSWORD)
        assert session.get(url("/api/token/")).json()["user"] == "ada"


def test_requests_oauthlib_with_a_password(url, ada, webapp):
    with RequestsOAuthlib(client=LegacyApplicationClient(client_id="webapp")) as session:
        session.fetch_token(
            url("/o/token/"), username="ada", password=PASSWORD, include_client_id=True
        )
        assert session.get(url("/api/token/")).json()["user"] == "ada"


# Code and PKCE, in Chromium


class Callback(HTTPServer):
    """Start a server that receives the redirect of the authorization endpoint."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.timeout = 30
        self.url = f"http://127.0.0.1:{self.server_port}/callback"
        self.answer = None

    def wait(self):
        while self.answer is None:
            self.handle_request()
        return f"http://127.0.0.1:{self.server_port}{self.answer}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/callback"):
            self.server.answer = self.path
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def callback(cli_client):
    with Callback() as server:
        yield server


def in_chromium(page, url, callback):
    """Log in as ada and authorize; return the URL that Chromium is redirected to."""
    import threading

    found = []
    thread = threading.Thread(target=lambda: found.append(callback.wait()))
    thread.start()
    page.goto(url)
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("Make payments, and see them").wait_for()
    page.get_by_role("button", name="Authorize").click()
    thread.join(30)
    return found[0]


def refreshes_and_notices_a_replay(url, token, refresh):
    """Refresh tokens rotate, and reusing an old one ends the whole family."""
    first = dict(token)
    second = dict(refresh(first["refresh_token"]))
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    header = {"Authorization": f"Bearer {second['access_token']}"}
    assert requests.get(url("/api/token/"), headers=header, timeout=10).ok

    with pytest.raises((OAuthError, OAuth2Error), match="invalid_grant"):
        refresh(first["refresh_token"])
    assert requests.get(url("/api/token/"), headers=header, timeout=10).status_code == 401
    with pytest.raises((OAuthError, OAuth2Error), match="invalid_grant"):
        refresh(second["refresh_token"])


def test_authlib_with_code_and_pkce(url, ada, page, callback):
    session = Authlib(
        "acme-cli",
        scope="payments:write",
        redirect_uri=callback.url,
        code_challenge_method="S256",
        token_endpoint_auth_method="none",
    )
    verifier = secrets.token_urlsafe(48)
    address, state = session.create_authorization_url(url("/o/authorize/"), code_verifier=verifier)
    answer = in_chromium(page, address, callback)
    assert parse_qs(urlsplit(answer).query)["iss"] == [url("/o")]

    token = session.fetch_token(
        url("/o/token/"), authorization_response=answer, state=state, code_verifier=verifier
    )

    assert session.get(url("/api/token/")).json()["client"] == "acme-cli"
    refreshes_and_notices_a_replay(
        url, token, lambda text: session.refresh_token(url("/o/token/"), refresh_token=text)
    )
    session.close()


def test_requests_oauthlib_with_code_and_pkce(url, ada, page, callback):
    session = RequestsOAuthlib(
        "acme-cli", scope=["payments:write"], redirect_uri=callback.url, pkce="S256"
    )
    address, _ = session.authorization_url(url("/o/authorize/"))
    answer = in_chromium(page, address, callback)

    token = session.fetch_token(
        url("/o/token/"), authorization_response=answer, include_client_id=True
    )

    assert session.get(url("/api/token/")).json()["user"] == "ada"
    refreshes_and_notices_a_replay(
        url,
        token,
        lambda text: session.refresh_token(
            url("/o/token/"), refresh_token=text, client_id="acme-cli"
        ),
    )
    session.close()


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_httpx_oauth_with_code_and_pkce(url, ada, page, callback, method):
    """It always sends a secret, so its client is confidential."""
    app = Application.objects.create(
        name="Ledger",
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris=callback.url,
        client_secret="a-secret",
    )
    client = HttpxOAuth(
        app.client_id,
        "a-secret",
        url("/o/authorize/"),
        url("/o/token/"),
        url("/o/token/"),
        url("/o/revoke_token/"),
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
    )
    verifier = secrets.token_urlsafe(48)
    challenge = create_s256_code_challenge(verifier)
    address = wait_for(
        client.get_authorization_url(callback.url, "s", ["payments:write"], challenge, "S256")
    )
    answer = parse_qs(urlsplit(in_chromium(page, address, callback)).query)

    token = wait_for(client.get_access_token(answer["code"][0], callback.url, verifier))
    again = wait_for(client.refresh_token(token["refresh_token"]))
    assert not again.is_expired()
    header = {"Authorization": f"Bearer {again['access_token']}"}
    facts = requests.get(url("/api/token/"), headers=header, timeout=10).json()
    assert facts["client"] == app.client_id

    wait_for(client.revoke_token(again["access_token"]))
    assert requests.get(url("/api/token/"), headers=header, timeout=10).status_code == 401
    with pytest.raises(RefreshTokenError):
        wait_for(client.refresh_token(token["refresh_token"]))


def wait_for(coroutine):
    """Run ``coroutine`` in a thread: Playwright runs the event loop of this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


# The device grant


@pytest.fixture
def device(url, cli_client, settings):
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"DEVICE_FLOW_INTERVAL": 1}
    Application.objects.update(authorization_grant_type=Application.GRANT_DEVICE_CODE)
    form = {"client_id": "acme-cli", "scope": "payments:read"}
    return requests.post(url("/o/device-authorization/"), form, timeout=10).json()


def accept(page, device):
    page.goto(device["verification_uri_complete"])
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Accept").click()
    page.get_by_role("heading", name="Request accepted").wait_for()


def test_authlib_with_a_device(url, ada, page, device):
    grant_type = "urn:ietf:params:oauth:grant-type:device_code"
    with Authlib("acme-cli", token_endpoint_auth_method="none") as session:

        def poll():
            return session.fetch_token(
                url("/o/token/"), grant_type=grant_type, device_code=device["device_code"]
            )

        with pytest.raises(OAuthError, match="authorization_pending"):
            poll()
        with pytest.raises(OAuthError, match="slow_down"):
            poll()
        accept(page, device)
        poll()
        assert session.get(url("/api/token/")).json()["scopes"] == ["payments:read"]


def test_oauthlib_with_a_device(url, ada, page, device):
    accept(page, device)
    client = DeviceClient("acme-cli")
    body = client.prepare_request_body(device_code=device["device_code"], include_client_id=True)
    response = requests.post(
        url("/o/token/"), body, timeout=10,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    token = client.parse_request_body_response(response.text)

    assert token["refresh_token"]
    assert token["expires_at"] > time.time()
    assert json.loads(response.text)["scope"] == "payments:read"
