"""The most scopes that a client may request (``ClientSettings.max_scope``)."""

import pytest
from oauth2_provider.models import Application, DeviceGrant

from apikeys.oauth import scopes
from apikeys.oauth.models import ClientSettings, Consent
from tests.factories import mint_pat
from tests.oauth.conftest import SECRET

MOST = "payments:read reports:read"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture
def limited(app):
    return ClientSettings.objects.create(application=app, max_scope=MOST)


def test_a_request_for_more_is_an_error(visitor, limited, query):
    response = visitor.get("/o/authorize/", query | {"scope": "payments:write"})
    assert "error=invalid_scope" in response["Location"]
    form = query | {"scope": "payments:read payments:write", "allow": "Authorize"}
    assert "error=invalid_scope" in visitor.post("/o/authorize/", form)["Location"]
    assert not Consent.objects.exists()
    assert visitor.get("/o/authorize/", query).status_code == 200


def test_a_request_without_scopes_gets_what_the_limit_allows(visitor, limited, query):
    del query["scope"]
    html = visitor.get("/o/authorize/", query).content.decode()
    assert 'name="scope" value="payments:read reports:read"' in html


def test_a_limit_applies_to_the_next_refresh_and_to_codes(visitor, answer, app):
    answer("payments:write")
    ClientSettings.objects.create(application=app, max_scope="payments:read")
    app.refresh_from_db()

    assert scopes.limited(["payments:write", "reports:read"], app) == ["payments:read"]
    assert scopes.limited(["payments:write"], None) == ["payments:write"]


def test_a_device_gets_no_more(visitor, app, ada, limited):
    app.authorization_grant_type = Application.GRANT_DEVICE_CODE
    app.save()
    device = DeviceGrant.objects.create(
        client_id="app", user_code="ABCDEFGH", device_code="d" * 40, user=ada,
        scope="payments:write", expires="2100-01-01T00:00Z",
    )  # fmt: skip
    url = "/o/device-confirm/app/ABCDEFGH"
    assert "Make payments" not in visitor.get(url).content.decode()
    visitor.post(url, {"action": "accept", "reach": "all"})

    device.refresh_from_db()
    assert device.scope == "payments:read"


def test_an_exchange_gets_no_more(client, ada, service):
    ClientSettings.objects.create(application=service, max_scope="payments:read")
    form = {
        "grant_type": EXCHANGE,
        "subject_token_type": ACCESS_TOKEN,
        "subject_token": mint_pat(ada, scopes=["payments:write", "reports:read"]).token,
        "client_id": "service",
        "client_secret": SECRET,
    }
    assert client.post("/o/token/", form).json()["scope"] == "payments:read"
    more = client.post("/o/token/", form | {"scope": "reports:read"})
    assert more.json()["error"] == "invalid_scope"


def test_a_refresh_gets_no_more(client, log_in, webapp):
    grant = log_in(scope="payments:write reports:read").json()
    ClientSettings.objects.create(application=webapp, max_scope="payments:read")
    form = {"grant_type": "refresh_token", "client_id": "webapp"}
    again = client.post("/o/token/", form | {"refresh_token": grant["refresh_token"]})
    assert again.json()["scope"] == "payments:read"
    assert log_in(scope="reports:read").json()["error"] == "invalid_scope"


pytestmark = pytest.mark.filterwarnings(
    "ignore:The OAuth 2.0 resource owner password:DeprecationWarning"
)
