"""`manage.py demo --issuer` from outside: the curls that it prints do what they say."""

import json
import urllib.request

import pytest

from tests.example.test_gateway import status

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(start):
    with start(words=["--issuer"]) as served:
        yield served


def test_the_curls_show_what_they_say(served):
    curls = served.credentials["issuer"]["curls"]
    assert [curl["status"] for curl in curls] == [200, 401, 401, 200, 200, 400]
    assert [status(curl["command"]) for curl in curls] == [curl["status"] for curl in curls]


def test_provider_is_another_server(served):
    issuer = served.credentials["issuer"]
    assert set(issuer["tokens"]) >= {"access_token", "other_audience", "id_token"}
    assert issuer["base_url"] != served.base_url
    url = f"{issuer['base_url']}/.well-known/openid-configuration"
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert json.load(answer)["issuer"] == issuer["base_url"]


def test_credential_describes_itself(served):
    token = served.credentials["issuer"]["tokens"]["access_token"]
    request = urllib.request.Request(
        f"{served.base_url}/api/token/", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        facts = json.load(answer)
    assert (facts["kind"], facts["user"], facts["client"]) == ("external", "ada", "webapp")
    assert facts["issuer"] == served.credentials["issuer"]["base_url"]
    assert facts["scopes"] == ["payments:read"]


def test_denied_token_is_refused_at_the_next_request(served):
    """The command has no issuer in its settings, so it says so and changes nothing."""
    run = served.manage("apikeys", "deny", "--issuer", "https://other.example.com", "--jti", "7")
    assert run.returncode == 1
    assert "not in ISSUERS" in run.stderr
