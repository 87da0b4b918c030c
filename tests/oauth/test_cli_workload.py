"""A workload that exchanges its identity token with ``apikeys.cli``."""

import httpx
import pytest
from click.testing import CliRunner

from apikeys import lifecycle
from apikeys.cli import App, LoginError, NotLoggedIn, Site, Workload, WorkloadAuth, workload
from tests.factories import ProjectFactory
from tests.workloads.conftest import workloads  # noqa: F401 - a fixture
from tests.workloads.issuer import GITHUB, SITE, TRUST

SERVER = "http://testserver"


class Transport(httpx.BaseTransport):
    """Sends the requests of httpx to Django's test client. ``testserver`` counts as loopback."""

    def __init__(self, client):
        self.client, self.exchanges = client, 0

    def handle_request(self, request):
        self.exchanges += request.url.path == "/o/token/"
        headers = {k: v for k, v in request.headers.items() if k not in ("host", "content-length")}
        response = self.client.generic(
            request.method,
            str(request.url),
            request.read(),
            content_type=headers.pop("content-type", ""),
            headers=headers,
        )
        headers, body = dict(response.items()), response.content
        return httpx.Response(response.status_code, headers=headers, content=body)


@pytest.fixture
def transport(client, monkeypatch):
    transport = Transport(client)
    make = workload.make_http
    monkeypatch.setattr(workload, "make_http", lambda **kwargs: make(transport=transport))
    for place in ("session", "discovery"):
        monkeypatch.setattr(f"apikeys.cli.{place}.secure", lambda url: url)
    monkeypatch.setattr(workload, "FILE", workload.Path("/nonexistent"))
    return transport


@pytest.fixture
def key(db, workloads):  # noqa: F811
    project = ProjectFactory(slug="analytical-engine")
    asked = {"name": "deploy", "scopes": ["payments:read"], "trust": TRUST}
    return lifecycle.mint(project=project, **asked).key


def run(*arguments, **env):
    command = App("acme", server=SERVER).group()
    return CliRunner(env=env).invoke(command, ["token", *arguments])


def test_identity_of_the_environment_is_exchanged(transport, key):
    result = run("--workload", "--key", key.public_id, ACME_ID_TOKEN=GITHUB.token())
    assert result.exit_code == 0, result.output
    token = result.output.strip()
    response = transport.client.get("/api/token/", headers={"Authorization": f"Bearer {token}"})
    assert response.json()["key"] == key.public_id


def test_projected_file_is_read(transport, key, tmp_path):
    path = tmp_path / "id-token"
    path.write_text(GITHUB.token() + "\n")
    assert run("--workload", ACME_ID_TOKEN_FILE=str(path)).exit_code == 0


def test_identity_of_the_job_is_found(transport, key, monkeypatch):
    asked = []

    def detect(audience):
        asked.append(audience)
        return GITHUB.token()

    monkeypatch.setattr("id.detect_credential", detect)
    assert run("--workload", "--audience", SITE).exit_code == 0
    assert run("--workload").exit_code == 0
    assert asked == [SITE, SERVER]


def test_refused_workload_sees_why(transport, key):
    result = run("--workload", ACME_ID_TOKEN=GITHUB.token(repository_id="2"))
    assert result.exit_code == 1
    assert "workload_not_trusted" in result.output


def test_missing_identity_is_explained(transport, key, monkeypatch):
    monkeypatch.setattr("id.detect_credential", lambda audience: None)
    result = run("--workload")
    assert result.exit_code == 1
    assert "id-token: write" in result.output


@pytest.mark.parametrize("text", ["x", "a.b", "a.b.c d", "a" * 20_000 + ".b.c"])
def test_other_text_is_not_sent(transport, key, text):
    result = run("--workload", ACME_ID_TOKEN=text)
    assert result.exit_code == 1
    assert "is not an identity token" in result.output
    assert transport.exchanges == 0


def test_token_without_workload_still_needs_a_client(transport):
    assert "--client-id" in run().output
    assert run("--key", "x").exit_code == 2


def test_auth_renews_by_itself(transport, key):
    source = Workload(Site(SERVER, "", name="acme"), find=GITHUB.token)
    auth = WorkloadAuth(SERVER)
    auth._session = source
    with httpx.Client(transport=transport, auth=auth, base_url=SERVER) as http:
        assert http.get("/api/token/").status_code == 200
        assert http.get("/api/token/").status_code == 200
        assert transport.exchanges == 1
        source._ends = 0  # the access token expires
        assert http.get("/api/token/").status_code == 200
        assert transport.exchanges == 2
        source._token = "refused"
        assert http.get("/api/token/").status_code == 200
        assert transport.exchanges == 3


def test_token_is_not_sent_to_other_sites(transport, key):
    auth = WorkloadAuth(SERVER)
    request = httpx.Request("GET", "https://other.example/")
    assert "Authorization" not in next(auth.sync_auth_flow(request)).headers
    assert transport.exchanges == 0


def test_refusal_is_raised(transport, key):
    source = Workload(Site(SERVER, ""), find=lambda: GITHUB.token(aud="https://other.example"))
    with pytest.raises(NotLoggedIn, match="wrong_audience"):
        source.token()
    assert issubclass(NotLoggedIn, LoginError)
