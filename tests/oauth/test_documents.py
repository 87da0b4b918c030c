"""Clients that identify themselves with the URL of a metadata document (CIMD)."""

from base64 import urlsafe_b64encode
from datetime import timedelta
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from django.utils import timezone
from oauth2_provider.cimd import CIMDError
from oauth2_provider.models import Application

from apikeys.oauth import registration
from apikeys.oauth.scopes import Scopes
from tests.factories import bearer

VERIFIER = "v" * 64
CLIENT = "https://agent.example/oauth/client-metadata.json"
#: The document in the authorization page of the Model Context Protocol.
DOCUMENT = {
    "client_id": CLIENT,
    "client_name": "Example MCP Client",
    "client_uri": "https://agent.example",
    "logo_uri": "https://agent.example/logo.png",
    "redirect_uris": ["http://127.0.0.1:3000/callback", "http://localhost:3000/callback"],
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}


class Fetcher:
    """Replaces the one that only fetches from public addresses."""

    documents: dict = {}
    fetched = 0

    def fetch(self, client_id):
        type(self).fetched += 1
        if client_id not in self.documents:
            raise CIMDError("not found")
        return self.documents[client_id], 300


@pytest.fixture(autouse=True)
def documents(settings, db):
    cache.clear()
    Fetcher.documents, Fetcher.fetched = {CLIENT: dict(DOCUMENT)}, 0
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {
        "CIMD_METADATA_FETCHER": "tests.oauth.test_documents.Fetcher"
    }
    yield Fetcher.documents
    cache.clear()


def query(**changes):
    challenge = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    return {
        "client_id": CLIENT,
        "response_type": "code",
        "redirect_uri": "http://localhost:3000/callback",
        "scope": "payments:read",
        "state": "s",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **changes,
    }


@pytest.fixture
def session(client, ada):
    client.force_login(ada)
    return client


@pytest.mark.parametrize(
    "redirect_uri",
    ["http://127.0.0.1:3000/callback", "http://127.0.0.1:49152/callback",
     "http://localhost:3000/callback", "http://localhost:49152/callback"],
)  # fmt: skip
def test_client_gets_a_token_on_any_port_of_the_loopback(session, redirect_uri):
    asked = query(redirect_uri=redirect_uri)
    page = session.get("/o/authorize/", asked)
    assert page.status_code == 200, page.get("Location", page.content)
    assert b"logo.png" not in page.content
    answer = session.post("/o/authorize/", asked | {"allow": "Authorize", "reach": "all"})
    assert answer.status_code == 302, answer.content
    code = parse_qs(urlsplit(answer["Location"]).query)["code"]
    form = {
        "grant_type": "authorization_code",
        "client_id": CLIENT,
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": VERIFIER,
    }
    token = session.post("/o/token/", form).json()
    session.logout()

    facts = session.get("/api/token/", headers=bearer(token["access_token"])).json()
    assert (facts["client"], facts["user"], facts["scopes"]) == (CLIENT, "ada", ["payments:read"])
    assert token["refresh_token"]
    assert Fetcher.fetched == 1


@pytest.mark.parametrize(("host", "status"), [("agent.example", 200), ("other.example", 400)])
def test_a_site_may_allow_the_documents_of_some_hosts_only(session, settings, host, status):
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {
        "CIMD_REGISTRATION_PERMISSION_CLASSES": [
            "oauth2_provider.cimd.HostAllowlistCIMDPermission"
        ],
        "CIMD_ALLOWED_HOSTS": [host],
    }

    assert session.get("/o/authorize/", query()).status_code == status
    assert Fetcher.fetched == (status == 200)
    assert Application.objects.filter(client_id=CLIENT).exists() is (status == 200)


@pytest.mark.parametrize(
    "redirect_uri", ["http://localhost.evil.example:3000/callback", "http://localhost:3000/other"]
)
def test_other_redirect_uris_are_refused(session, redirect_uri):
    response = session.get("/o/authorize/", query(redirect_uri=redirect_uri))
    assert response.status_code == 400
    assert "Location" not in response


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "https://other.example/x"},
        {"redirect_uris": ["http://evil.example/callback"]},
        {"redirect_uris": ["javascript:alert(1)"]},
        {"redirect_uris": []},
        {"redirect_uris": [f"https://agent.example/{n}" for n in range(11)]},
        {"grant_types": ["client_credentials"]},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"client_secret": "x"},
        {"client_name": "\u202egnp.exe"},
        {"client_name": "\x00"},
        {"client_name": 7},
    ],
)
def test_document_that_a_client_cannot_have_is_refused(session, documents, change):
    documents[CLIENT] |= change
    assert session.get("/o/authorize/", query()).status_code == 400
    assert not Application.objects.exists()
    # It is not fetched again at once.
    session.get("/o/authorize/", query())
    assert Fetcher.fetched == 1


def test_document_may_name_grants_that_this_server_does_not_give_it(session, documents):
    device = "urn:ietf:params:oauth:grant-type:device_code"
    documents[CLIENT]["grant_types"] = ["authorization_code", "refresh_token", device]
    assert session.get("/o/authorize/", query()).status_code == 200
    client = Application.objects.get()
    assert registration.grants_of(client) == ["authorization_code"]
    assert (client.user, client.client_type) == (None, "public")


def test_client_registers_no_other_clients(session):
    session.get("/o/authorize/", query())
    scope = "oauth2_provider:registration"
    assert scope not in Scopes().get_available_scopes(application=Application.objects.get())
    response = session.get("/o/authorize/", query(scope=scope))
    assert "error=invalid_scope" in response["Location"]


@pytest.mark.slow
def test_stale_document_is_fetched_again_and_kept_if_that_fails(session, documents):
    session.get("/o/authorize/", query())
    documents[CLIENT]["client_name"] = "Renamed"
    session.get("/o/authorize/", query())
    assert Application.objects.get().name == "Example MCP Client"

    Application.objects.update(cimd_expires_at=timezone.now() - timedelta(seconds=1))
    session.get("/o/authorize/", query())
    assert Application.objects.get().name == "Renamed"

    Application.objects.update(cimd_expires_at=timezone.now() - timedelta(seconds=1))
    del documents[CLIENT]
    assert session.get("/o/authorize/", query()).status_code == 200
    assert Application.objects.get().name == "Renamed"


def test_document_does_not_take_over_another_client(session, ada):
    Application.objects.create(
        client_id=CLIENT,
        client_type="public",
        authorization_grant_type="authorization-code",
        redirect_uris="https://own.example/callback",
        user=ada,
    )
    assert session.get("/o/authorize/", query()).status_code == 400
    assert Application.objects.get().redirect_uris == "https://own.example/callback"


def test_number_of_clients_is_limited(session, documents, settings, monkeypatch):
    settings.APIKEYS = settings.APIKEYS | {"MOST_CLIENTS_WITHOUT_USER": 1}
    second = CLIENT.replace("agent", "second")
    documents[second] = DOCUMENT | {"client_id": second}
    assert session.get("/o/authorize/", query()).status_code == 200
    assert session.get("/o/authorize/", query(client_id=second)).status_code == 400
    assert session.get("/o/authorize/", query()).status_code == 200  # the first one stays

    settings.APIKEYS = settings.APIKEYS | {"MOST_CLIENTS_WITHOUT_USER": None}
    monkeypatch.setattr(registration, "FROM_ADDRESS", 1)
    assert session.get("/o/authorize/", query(client_id=second)).status_code == 400


def test_site_can_turn_it_off(session, settings):
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"CIMD_ENABLED": False}
    assert session.get("/o/authorize/", query()).status_code == 400
    url = "/.well-known/oauth-authorization-server/o"
    assert session.get(url).json()["client_id_metadata_document_supported"] is False
    assert not Fetcher.fetched


def test_metadata_says_that_it_is_on(client):
    url = "/.well-known/oauth-authorization-server/o"
    assert client.get(url).json()["client_id_metadata_document_supported"] is True


def test_private_addresses_are_not_fetched(session, settings):
    """With the default fetcher, which the example uses."""
    provider = {k: v for k, v in settings.OAUTH2_PROVIDER.items() if k != "CIMD_METADATA_FETCHER"}
    settings.OAUTH2_PROVIDER = provider
    for url in ("https://127.0.0.1/client.json", "https://[::1]/c", "https://169.254.169.254/c"):
        assert session.get("/o/authorize/", query(client_id=url)).status_code == 400
    assert not Application.objects.exists()
