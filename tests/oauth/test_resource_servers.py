"""A service in ``RESOURCE_SERVERS`` exchanges the tokens of its callers, to act for them."""

from datetime import timedelta

import pytest
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application

from apikeys.oauth.checks import check_oauth
from tests.factories import bearer, mint_pat
from tests.oauth.conftest import SECRET
from tests.oauth.test_exchange import exchange

MCP, OTHER = "https://mcp.example/mcp", "https://other.example/"
OWN = {"client_id": "service", "client_secret": SECRET}

pytestmark = pytest.mark.filterwarnings(
    "ignore:The OAuth 2.0 resource owner password:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def listed(settings, service):
    settings.APIKEYS = settings.APIKEYS | {"RESOURCE_SERVERS": {"service": [MCP]}}


@pytest.fixture
def received(log_in):
    """Return a function that makes the token of a caller, restricted to these resources."""

    def received(*resources, scope="payments:write reports:read"):
        text = log_in(scope=scope).json()["access_token"]
        AccessToken.objects.filter(scope=scope).update(resource=list(resources))
        return text

    return received


def status(client, text):
    return client.get("/api/token/", headers=bearer(text)).status_code


def test_token_for_the_service_becomes_one_for_the_api(client, received):
    text = received(MCP)
    assert status(client, text) == 401

    made = exchange(client, text, **OWN).json()
    facts = client.get("/api/token/", headers=bearer(made["access_token"])).json()
    assert (facts["user"], facts["client"]) == ("ada", "service")
    assert made["scope"] == "payments:write reports:read"
    assert AccessToken.objects.latest("pk").resource == ["http://testserver"]


def test_token_for_the_service_becomes_one_for_another_service(client, received):
    text = received(MCP)
    made = exchange(client, text, resource=OTHER, **OWN).json()
    assert AccessToken.objects.latest("pk").resource == [OTHER]
    assert status(client, made["access_token"]) == 401
    # That one is not for the service, so it goes no further.
    again = exchange(client, made["access_token"], resource="http://testserver/", **OWN)
    assert again.json()["error"] == "invalid_target"


def test_path_below_a_listed_url_belongs_to_the_service(client, received):
    made = exchange(client, received(f"{MCP}/tools"), **OWN).json()
    assert status(client, made["access_token"]) == 200


def test_new_token_has_no_more_scopes_and_no_longer_life(client, received):
    text = received(MCP)
    AccessToken.objects.update(expires=timezone.now() + timedelta(seconds=60))
    made = exchange(client, text, scope="payments:read", **OWN).json()
    assert made["scope"] == "payments:read"
    assert made["expires_in"] <= 60
    assert exchange(client, text, scope="keys:write", **OWN).json()["error"] == "invalid_scope"


def test_new_token_ends_with_the_received_one(client, received):
    text = received(MCP)
    made = exchange(client, text, **OWN).json()["access_token"]
    client.post("/o/revoke_token/", {"token": text, "client_id": "webapp"})
    assert status(client, made) == 401
    assert exchange(client, text, **OWN).json()["error"] == "invalid_request"


@pytest.mark.parametrize(
    "resources", [[OTHER], [MCP, OTHER], ["https://mcp.example/"], ["https://mcp.example/mcpx"]]
)
def test_token_for_another_service_stays_there(client, received, resources):
    text = received(*resources)
    made = exchange(client, text, resource="http://testserver/api/", **OWN)
    assert made.json()["error"] == "invalid_target"
    made = exchange(client, text, **OWN).json()  # the same resources again
    assert sorted(AccessToken.objects.latest("pk").resource) == sorted(resources)
    assert status(client, made["access_token"]) == 401


def test_unlisted_service_is_refused(client, received, settings):
    settings.APIKEYS = settings.APIKEYS | {"RESOURCE_SERVERS": {"another": [MCP]}}
    made = exchange(client, received(MCP), resource="http://testserver/api/", **OWN)
    assert made.json()["error"] == "invalid_target"


def test_client_of_a_user_is_no_service(client, received, ada):
    Application.objects.filter(client_id="service").update(user=ada)
    made = exchange(client, received(MCP), resource="http://testserver/api/", **OWN)
    assert made.json()["error"] == "invalid_target"


def test_public_client_is_no_service(client, received, settings, webapp):
    settings.APIKEYS = settings.APIKEYS | {"RESOURCE_SERVERS": {"webapp": [MCP]}}
    made = exchange(client, received(MCP), client_id="webapp", resource="http://testserver/api/")
    assert made.json()["error"] == "invalid_target"


@pytest.mark.parametrize("secret", ["", "wrong"])
def test_wrong_secret_is_refused(client, received, secret):
    made = exchange(client, received(MCP), client_id="service", client_secret=secret)
    assert made.json()["error"] == "invalid_client"


def test_key_as_a_client_is_no_service(client, received, ada):
    minted = mint_pat(ada)
    form = {"client_id": minted.key.public_id, "client_secret": minted.token}
    made = exchange(client, received(MCP), resource="http://testserver/api/", **form)
    assert made.status_code == 400


def test_audiences_of_the_site_limit_a_service_too(client, received, settings):
    settings.APIKEYS = settings.APIKEYS | {"AUDIENCES": ["http://testserver/", MCP]}
    text = received(MCP)
    assert exchange(client, text, resource=OTHER, **OWN).json()["error"] == "invalid_target"
    made = exchange(client, text, resource="http://testserver/api/", **OWN).json()
    assert status(client, made["access_token"]) == 200


@pytest.mark.parametrize(
    "wrong",
    [[], {"service": MCP}, {"service": ["mcp"]}, {1: [MCP]}, {"service": ["https://x/#y"]}],
)
def test_invalid_settings_are_a_check_error(settings, wrong):
    settings.APIKEYS = settings.APIKEYS | {"RESOURCE_SERVERS": wrong}
    assert "apikeys.E131" in [error.id for error in check_oauth()]
