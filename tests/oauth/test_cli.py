"""The command in a real terminal, with logins in Chromium."""

import concurrent.futures
import json
import os
import pty
import re
import select
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from oauth2_provider.models import AccessToken, Application, DeviceGrant, RefreshToken

from apikeys.cli import BearerAuth, LoginError, NotLoggedIn, Session, Site
from apikeys.oauth import authorizations
from apikeys.oauth.models import Consent
from apikeys.policy import Policy
from tests.documents import ROOT
from tests.factories import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


class Terminal:
    """A program in a pseudo-terminal."""

    def __init__(self, command, env):
        self.seen = ""
        pid, self.fd = pty.fork()
        if pid == 0:
            os.execvpe(command[0], command, env)
        self.pid = pid

    def expect(self, pattern, seconds=30):
        end = time.monotonic() + seconds
        while not (match := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, f"no {pattern!r} in {self.seen!r}"
            try:
                chunk = os.read(self.fd, 4096)
            except OSError:
                chunk = b""
            assert chunk, f"it ended without {pattern!r}: {self.seen!r}"
            self.seen += chunk.decode().replace("\r\n", "\n")
        return match

    def wait(self):
        while True:
            try:
                chunk = os.read(self.fd, 4096)
            except OSError:
                break
            if not chunk:
                break
            self.seen += chunk.decode().replace("\r\n", "\n")
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def environment(tmp_path, live_server):
    opener = tmp_path / "browser"
    opener.write_text(
        f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/url.part\nmv {tmp_path}/url.part {tmp_path}/url\n'
    )
    opener.chmod(0o700)
    return {
        **{k: os.environ[k] for k in ("PATH", "LANG") if k in os.environ},
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "PYTHONPATH": str(ROOT),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        "BROWSER": f"{opener} %s",
        "APIKEYS_SERVER": live_server.url,
        "APIKEYS_CLIENT_ID": "acme-cli",
        "TERM": "xterm",
    }  # fmt: skip


@pytest.fixture
def command(environment, cli_client):
    def command(*arguments):
        return Terminal([sys.executable, "-m", "apikeys.cli", *arguments], environment)

    return command


@pytest.fixture
def run(environment, cli_client):
    def run(*arguments, code=0, **kwargs):
        done = subprocess.run(
            [sys.executable, "-m", "apikeys.cli", *arguments],
            env=environment, capture_output=True, text=True, timeout=60, **kwargs,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.fixture
def opened(tmp_path):
    """The URL that the program opened in its browser."""

    def opened():
        end = time.monotonic() + 30
        while not (tmp_path / "url").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        return (tmp_path / "url").read_text()

    return opened


@pytest.fixture
def logged_in(command, opened, authorize):
    terminal = command("login", "--scope", "payments:write")
    page = authorize(opened())
    page.get_by_role("heading", name="You are logged in.").wait_for()
    assert terminal.wait() == 0, terminal.seen
    return terminal


def token_file(tmp_path):
    (file,) = (tmp_path / "data" / "apikeys").glob("*.json")
    return file


def test_login_with_the_browser(logged_in, run, tmp_path):
    assert "You are logged in as ada." in logged_in.seen
    assert (
        f"No system keyring is available, so the tokens are stored in {token_file(tmp_path)}"
        in (re.sub(r"\s+", " ", logged_in.seen))
    )
    assert stat.S_IMODE(token_file(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(token_file(tmp_path).parent.stat().st_mode) == 0o700

    facts = json.loads(run("whoami", "--json"))
    assert (facts["user"], facts["client"]) == ("ada", "acme-cli")
    assert facts["scopes"] == ["payments:write"]
    assert re.search(r"^user +ada$", run("whoami"), re.MULTILINE)


def test_the_opened_url_uses_pkce_and_state(command, opened, authorize):
    terminal = command("login")
    url = opened()
    params = httpx.URL(url).params
    assert params["response_type"] == "code"
    assert params["code_challenge_method"] == "S256"
    assert len(params["code_challenge"]) == 43
    assert len(params["state"]) >= 32
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/callback", params["redirect_uri"])

    # A callback without the right state or path is refused.
    for forged in ("?code=x", "?code=x&state=guessed", "elsewhere?state=" + params["state"]):
        assert httpx.get(params["redirect_uri"] + forged).status_code == 404
    authorize(url)
    assert terminal.wait() == 0, terminal.seen


def test_a_denied_login_is_reported(command, opened, authorize, run):
    terminal = command("login")
    authorize(opened(), allow=False)

    assert terminal.wait() == 1
    assert "The login was refused" in terminal.seen
    assert "Traceback" not in terminal.seen
    assert "not logged in" in run("whoami", code=1)


def test_login_with_a_device_code(command, page, ada, live_server, settings, run):
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"DEVICE_FLOW_INTERVAL": 1}
    Application.objects.update(authorization_grant_type=Application.GRANT_DEVICE_CODE)
    terminal = command("login", "--device", "--scope", "payments:read")
    url = terminal.expect(r"Open (http\S+/o/device/) in any browser")[1]
    code = terminal.expect(r"\n  (\w{4}-\w{4})\n")[1]

    page.goto(url)
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Code").fill(code.lower())
    page.locator("button[type=submit]").click()
    page.get_by_role("button", name="Accept").click()

    assert terminal.wait() == 0, terminal.seen
    assert "You are logged in as ada." in terminal.seen
    assert json.loads(run("whoami", "--json"))["scopes"] == ["payments:read"]
    assert DeviceGrant.objects.get().status == DeviceGrant.EXPIRED


def test_the_token_and_api_commands_call_the_site(logged_in, run, live_server):
    token = run("token").strip()
    assert httpx.get(
        live_server.url + "/api/payments/", headers={"Authorization": f"Bearer {token}"}
    ).is_success

    made = json.loads(run("api", "POST", "/api/payments/", "-f", "amount=12.50"))
    assert made["amount"] == "12.50"
    assert json.loads(run("api", "GET", "/api/payments/")) == [made]
    assert "403" in run("api", "GET", "/api/reports/", code=1)


def test_token_for_an_agent_ends_with_the_login(logged_in, run, live_server):
    words = ("token", "--for", "1h", "--scope", "payments:read", "--project", "analytical-engine")
    token = run(*words).strip()
    url, headers = f"{live_server.url}/api/token/", {"Authorization": f"Bearer {token}"}

    facts = httpx.get(url, headers=headers).json()
    assert (facts["scopes"], facts["projects"]) == (["payments:read"], ["analytical-engine"])
    assert "up to 24h" in run("token", "--for", "25h", code=2)
    assert "need --for" in run("token", "--scope", "payments:read", code=2)
    assert "was refused" in run("token", "--for", "1h", "--project", "x", code=1)

    run("logout")
    assert httpx.get(url, headers=headers).status_code == 401


@pytest.mark.parametrize("path", ["https://evil.example/", "//evil.example/", "http://localhost:1"])
def test_the_token_is_not_sent_to_another_host(logged_in, run, path):
    assert "the token is not sent there" in run("api", "GET", path, code=1)


def test_an_expired_token_is_refreshed_silently(logged_in, run, tmp_path):
    file = token_file(tmp_path)
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"expires_at": 1}))

    assert run("token").strip() != record["access_token"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_refused_token_is_refreshed_once(logged_in, run):
    AccessToken.objects.update(token_checksum="0" * 64)  # the site no longer knows the token

    assert json.loads(run("whoami", "--json"))["user"] == "ada"
    assert AccessToken.objects.count() == 1


def test_an_ended_login_is_reported(logged_in, run):
    AccessToken.objects.all().delete()
    RefreshToken.objects.all().delete()

    assert "Log in again" in run("whoami", code=1)
    assert "You are not logged in" in run("token", code=1)


def test_parallel_processes_refresh_once(logged_in, run, tmp_path):
    file = token_file(tmp_path)
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"expires_at": 1}))

    with concurrent.futures.ThreadPoolExecutor() as pool:
        tokens = set(pool.map(lambda _: run("token").strip(), range(4)))

    assert len(tokens) == 1
    assert tokens != {record["access_token"]}
    # A replayed refresh token would have ended the whole family of tokens.
    assert json.loads(run("whoami", "--json"))["user"] == "ada"


def test_logout_revokes(logged_in, run, tmp_path):
    token = run("token").strip()
    run("logout")

    assert not list((tmp_path / "data").rglob("*.json"))
    assert not RefreshToken.objects.filter(revoked=None).exists()
    assert not AccessToken.objects.exists(), token
    assert "You are not logged in" in run("logout", code=1)


def test_httpx_auth(logged_in, live_server, tmp_path, monkeypatch, request):
    monkeypatch.setattr("keyring.get_password", lambda *args: None)
    session = Session(Site(live_server.url, "acme-cli"), folder=tmp_path / "data" / "apikeys")
    request.addfinalizer(session.close)
    seen = []
    hooks = {"request": [seen.append]}
    with httpx.Client(auth=BearerAuth(session), event_hooks=hooks) as http:
        assert http.get(live_server.url + "/api/token/").json()["user"] == "ada"
        AccessToken.objects.update(token_checksum="0" * 64)
        made = http.post(live_server.url + "/api/payments/", json={"amount": "1.00"})
        assert made.status_code == 201

    async def call():
        async with httpx.AsyncClient(auth=BearerAuth(session)) as http:
            return await http.get(live_server.url + "/api/token/")

    import asyncio

    with concurrent.futures.ThreadPoolExecutor() as pool:
        response = pool.submit(lambda: asyncio.run(call())).result()
    assert response.json()["user"] == "ada"


@pytest.mark.parametrize("server", ["http://api.example.com", "ftp://api.example.com"])
def test_plain_http_is_refused(run, server):
    assert "is not https" in run("--server", server, "login", code=1)


def test_metadata_of_another_resource_is_refused(tmp_path, request):
    def answer(request):
        return httpx.Response(200, json={"resource": "https://other.example"})

    http = httpx.Client(transport=httpx.MockTransport(answer))
    session = Session(Site("https://api.example.com", "x"), folder=tmp_path, http=http)
    request.addfinalizer(session.close)
    with pytest.raises(LoginError, match="another resource"):
        session.log_in(print, browse=None)
    with pytest.raises(NotLoggedIn):
        session.token()


def test_the_keyring_stores_the_tokens(tmp_path, monkeypatch, request):
    kept = {}
    monkeypatch.setattr("keyring.set_password", lambda s, n, text: kept.__setitem__((s, n), text))
    monkeypatch.setattr("keyring.get_password", lambda s, n: kept.get((s, n)))
    monkeypatch.setattr("keyring.delete_password", lambda s, n: kept.pop((s, n)))
    session = Session(Site("https://api.example.com", "x", name="acme"), folder=tmp_path)
    request.addfinalizer(session.close)
    session.store.save({"access_token": "a", "expires_at": time.time() + 300})

    assert list(kept) == [("acme", "x at https://api.example.com")]
    assert not list(Path(tmp_path).glob("*.json"))
    assert session.store.where == "The tokens are stored in the system's keyring."
    assert session.token() == "a"
    session.log_out()
    assert not kept


class Alone(Policy):
    def client_grant_types(self, user):
        return (*super().client_grant_types(user), "client_credentials")


class TestClientOfThisMachine:
    @pytest.fixture(autouse=True)
    def allowed(self, settings):
        settings.APIKEYS = settings.APIKEYS | {"POLICY": Alone}

    @pytest.fixture
    def logged_in(self, command, opened, authorize):
        terminal = command("login", "--client")
        authorize(opened()).get_by_role("heading", name="You are logged in.").wait_for()
        assert terminal.wait() == 0, terminal.seen
        return terminal

    def test_it_needs_no_browser(self, logged_in, run, tmp_path):
        own = Application.objects.get(registration_source="dcr")
        assert f"This machine is the client {own.client_id}." in logged_in.seen
        assert (own.user.username, own.client_type) == ("ada", "confidential")
        file = token_file(tmp_path)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

        facts = json.loads(run("whoami", "--json"))
        assert (facts["user"], facts["client"]) == ("ada", own.client_id)
        assert facts["scopes"] == ["payments:read", "payments:write", "reports:read"]
        assert not RefreshToken.objects.filter(revoked=None).exists()  # of the browser's login

        record = json.loads(file.read_text())
        AccessToken.objects.exclude(scope="oauth2_provider:registration").delete()
        assert run("token").strip() == record["access_token"]
        assert json.loads(run("whoami", "--json"))["client"] == own.client_id
        assert run("token").strip() != record["access_token"]

        ada = own.user
        assert own in [each.application for each in authorizations.live(user=ada)]

        run("logout")
        assert not Application.objects.filter(registration_source="dcr").exists()
        assert not AccessToken.objects.filter(user=ada).exists()
        assert not list((tmp_path / "data").rglob("*.json"))

    def test_its_owner_narrows_and_revokes_it(self, logged_in, run):
        own = Application.objects.get(registration_source="dcr")
        Consent.objects.filter(application=own).update(scope="payments:read")
        assert json.loads(run("whoami", "--json"))["scopes"] == ["payments:read"]

        authorizations.end(own, own.user)
        assert "Log in again" in run("whoami", code=1)
        run("logout")
        assert not Application.objects.filter(pk=own.pk).exists()

    def test_the_policy_decides(self, command, opened, authorize, run, settings):
        settings.APIKEYS = settings.APIKEYS | {"POLICY": Policy}
        terminal = command("login", "--client")
        authorize(opened())
        assert terminal.wait() == 1
        assert "The client was not registered" in terminal.seen
        assert not Application.objects.filter(registration_source="dcr").exists()
        assert not RefreshToken.objects.filter(revoked=None).exists()
        assert "not logged in" in run("whoami", code=1)
