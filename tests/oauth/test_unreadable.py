"""Malformed requests are refused with a client error and cause no server error."""

import base64
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from oauth2_provider.models import Application, DeviceGrant, Grant

from tests.factories import mint_key

FORM = "application/x-www-form-urlencoded"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
CALLBACK = "http://127.0.0.1:4444/callback"


@pytest.fixture
def query(cli_client):
    return {
        "client_id": "acme-cli",
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "scope": "payments:read",
        "state": "xyz",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    }


@pytest.fixture
def session(client, ada):
    client.force_login(ada)
    return client


def ask(session, query, method):
    form = query | ({"allow": "Authorize", "reach": "all"} if method == "post" else {})
    return getattr(session, method)("/o/authorize/", form)


def assert_bad_request(response, error="invalid_request"):
    assert (response.status_code, response.json()["error"]) == (400, error)
    assert "no-store" in response["Cache-Control"]


def assert_bad_request_on_a_page(response):
    assert response.status_code == 400
    assert "invalid_request" in response.content.decode()
    assert response["Cache-Control"] == "no-store, private"


def assert_error_redirect(response, error):
    """RFC 6749 section 4.1.2.1."""
    assert response.status_code == 302
    assert response["Location"].startswith(CALLBACK + "?")
    answer = parse_qs(urlsplit(response["Location"]).query)
    assert (answer["error"], answer["state"]) == ([error], ["xyz"])
    assert not Grant.objects.exists()


@pytest.mark.parametrize("url", ["token", "revoke_token", "introspect", "device-authorization"])
@pytest.mark.parametrize("query", ["x=%zz", "x=%", "x=%00", "%00=x"])
def test_an_invalid_query_is_refused(client, cli_client, url, query):
    assert_bad_request(
        client.post(f"/o/{url}/?client_id=acme-cli&{query}", "token=x", content_type=FORM)
    )


@pytest.mark.parametrize(
    "body",
    [
        "grant_type=authorization_code&client_id=acme-cli&code=%00",
        "grant_type=authorization_code&client_id=%00&code=x",
        "grant_type=password&client_id=webapp&username=u%00&password=x",
        f"grant_type={DEVICE}&client_id=acme-cli&device_code=%00",
        "grant_type=refresh_token&client_id=acme-cli&refresh_token=x&%00=x",
    ],
)
def test_a_form_with_a_nul_is_refused(client, cli_client, webapp, body):
    assert_bad_request(client.post("/o/token/", body, content_type=FORM))


@pytest.mark.parametrize("url", ["token", "revoke_token", "introspect"])
def test_a_client_id_with_a_nul_is_refused(client, db, url):
    headers = {"Authorization": "Basic " + base64.b64encode(b"%00:\0").decode()}
    response = client.post(
        f"/o/{url}/", {"grant_type": "client_credentials", "token": "x"}, headers=headers
    )

    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("method", ["get", "post"])
def test_the_consent_page_refuses_a_nul(session, query, method):
    assert_bad_request_on_a_page(ask(session, query | {"client_id": "\0"}, method))


@pytest.mark.parametrize("logged_in", [True, False])
def test_the_consent_page_refuses_an_invalid_query(client, ada, query, logged_in):
    if logged_in:
        client.force_login(ada)
    assert_bad_request_on_a_page(client.get("/o/authorize/?client_id=acme-cli&x=%zz"))


def test_a_device_request_needs_the_client_id_in_the_form(client, cli_client):
    """RFC 8628 section 3.1."""
    cli_client.authorization_grant_type = Application.GRANT_DEVICE_CODE
    cli_client.save()
    url = "/o/device-authorization/?client_id=acme-cli"

    assert_bad_request(client.post(url, b"x=%zz\xff", content_type=FORM))
    assert not DeviceGrant.objects.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nope"},
        {"redirect_uri": "https://evil.test/"},
        {"redirect_uri": "http://127.0.0.1:bad/callback"},
        {"redirect_uri": "http://["},
    ],
)
def test_a_form_with_an_invalid_client_is_not_redirected(session, query, changes):
    assert_bad_request_on_a_page(ask(session, query | changes, "post"))
    denied = session.post("/o/authorize/", query | changes | {"allow": ""})
    assert_bad_request_on_a_page(denied)


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"resource": "https://["}, "invalid_target"),
        ({"code_challenge": "c" * 42}, "invalid_request"),
        ({"code_challenge": "c" * 129}, "invalid_request"),
        ({"code_challenge": "ç" * 43}, "invalid_request"),
        ({"code_challenge_method": "S" * 11}, "invalid_request"),
        ({"nonce": "n" * 256}, "invalid_request"),
    ],
)
def test_invalid_parameters_are_refused(session, query, method, changes, error):
    assert_error_redirect(ask(session, query | changes, method), error)


@pytest.mark.parametrize("changes", [{"nonce": "n" * 256}, {"resource": "https://["}])
def test_invalid_parameters_in_the_query_of_a_form_are_refused(session, query, changes):
    """A browser submits the form to the URL of the page, with its query."""
    form = query | {"allow": "Authorize", "reach": "all"}
    response = session.post("/o/authorize/?" + urlencode(changes), form)

    assert_error_redirect(
        response, "invalid_target" if "resource" in changes else "invalid_request"
    )


@pytest.mark.parametrize("changes", [{"code_challenge": "c" * 128}, {"nonce": "n" * 255}])
def test_the_longest_values_are_accepted(session, query, changes):
    assert ask(session, query | changes, "get").status_code == 200
    assert "code=" in ask(session, query | changes, "post")["Location"]


@pytest.mark.parametrize("number", ["9" * 23, "-" + "9" * 23, "x", "\u00b2"])
def test_an_invalid_project_id_is_refused(session, query, number):
    form = {"allow": "Authorize", "reach": "selected", "projects": [number, "1"]}
    response = session.post("/o/authorize/", query | form)

    assert response.status_code == 422
    assert "Acme on the command line" in response.content.decode()


def test_an_invalid_resource_is_refused(client, db):
    minted = mint_key()
    form = {"client_id": minted.key.public_id, "client_secret": minted.token}
    form |= {"grant_type": "client_credentials", "resource": "https://["}

    assert_bad_request(client.post("/o/token/", form), "invalid_target")


@pytest.mark.filterwarnings("ignore:The OAuth 2.0 resource owner password:DeprecationWarning")
def test_an_invalid_resource_of_a_client_is_refused(log_in):
    assert_bad_request(log_in(resource="https://["), "invalid_target")
