"""When something fails, the command prints one sentence and loses no token."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import keyring
import pytest
from click.testing import CliRunner
from keyring.backend import KeyringBackend
from keyring.errors import PasswordSetError

from apikeys.cli import App, LoginError, NotLoggedIn, Session, Site
from apikeys.cli.store import Store


class FakeSite(ThreadingHTTPServer):
    """A fake site that works, except for the responses that a test sets."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked = []
        #: The method, path and ``Authorization`` of each request.
        self.authorized = []
        #: Responses to send first, by path.
        self.answers = {}
        self.issued = 0

    def of(self, path):
        return [form for asked, form in self.asked if asked == path]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({})

    def do_DELETE(self):
        self.answer({})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.answer({name: values[0] for name, values in parse_qs(body).items()})

    def answer(self, form):
        site, path = self.server, urlsplit(self.path).path
        site.asked.append((path, form))
        site.authorized.append((self.command, path, self.headers.get("Authorization")))
        if site.answers.get(path):
            status, headers, body = site.answers[path].pop(0)
        else:
            status, headers, body = 200, {"Content-Type": "application/json"}, self.usual(path)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def usual(self, path):
        site = self.server
        if path == "/t":
            site.issued += 1
        return json.dumps(
            {
                "/.well-known/oauth-protected-resource": {
                    "resource": site.url,
                    "authorization_servers": [site.url],
                },
                "/.well-known/oauth-authorization-server": {
                    "issuer": site.url,
                    "authorization_endpoint": site.url + "/a",
                    "token_endpoint": site.url + "/t",
                    "revocation_endpoint": site.url + "/r",
                    "device_authorization_endpoint": site.url + "/d",
                    "registration_endpoint": site.url + "/reg",
                    "scopes_supported": ["openid", "payments:read"],
                },
                "/d": {
                    "device_code": "d",
                    "user_code": "ABCDEFGH",
                    "verification_uri": site.url + "/v",
                    "expires_in": 600,
                    "interval": 1,
                },
                "/t": {
                    "access_token": f"a{site.issued}",
                    "refresh_token": f"r{site.issued}",
                    "expires_in": 300,
                },
                "/reg": {
                    "client_id": "own:1",
                    "client_secret": "s%cret",
                    "registration_client_uri": site.url + "/reg/own",
                    "registration_access_token": "manage",
                },
                "/api/token/": {"user": "ada", "scopes": ["payments:read"]},
            }.get(path, {})
        ).encode()

    def log_message(self, *args):
        pass


HTML = (200, {"Content-Type": "text/html"}, b"<h1>Welcome to the hotel</h1>")
PORTAL = (302, {"Location": "http://192.0.2.1/log-in"}, b"")
AWAY = (503, {"Content-Type": "text/html"}, b"<h1>Service Unavailable</h1>")
EMPTY = (502, {}, b"")
OWN = (503, {"Content-Type": "application/json", "Retry-After": "5"}, b'{"code": "away"}')
MANY = (429, {"Content-Type": "application/json", "Retry-After": "7"}, b'{"code": "rate"}')
OAUTH = (503, {"Content-Type": "application/json"}, b'{"error": "temporarily_unavailable"}')
LIST = (200, {"Content-Type": "application/json"}, b"[]")
HALF = (200, {"Content-Type": "application/json"}, b'{"access_to')
NO_TOKEN = (200, {"Content-Type": "application/json"}, b"{}")
BAD_TOKEN = (200, {"Content-Type": "application/json"}, b'{"access_token": "a\\r\\nb"}')
NUMBER = (200, {"Content-Type": "application/json"}, b'{"access_token": 5}')
UNUSABLE = {
    "a page": HTML,
    "a redirect": PORTAL,
    "503 with a page": AWAY,
    "502 without a body": EMPTY,
    "503 of this package": OWN,
    "429": MANY,
    "503 of OAuth": OAUTH,
    "a list": LIST,
    "half of it": HALF,
}
NO_TOKENS = {**UNUSABLE, "no token": NO_TOKEN, "a control": BAD_TOKEN, "a number": NUMBER}


def oauth_error(error, status=400):
    return (status, {"Content-Type": "application/json"}, json.dumps({"error": error}).encode())


class Keyring(KeyringBackend):
    priority = 1

    def __init__(self):
        super().__init__()
        self.kept = {}

    def get_password(self, service, name):
        return self.kept.get((service, name))

    def set_password(self, service, name, text):
        self.kept[service, name] = text

    def delete_password(self, service, name):
        del self.kept[service, name]


class Broken(Keyring):
    def get_password(self, *args):
        raise RuntimeError("the bus is gone")

    set_password = delete_password = get_password


class ReadOnly(Keyring):
    def set_password(self, *args):
        raise PasswordSetError("locked")

    def delete_password(self, *args):
        raise OSError("locked")


class Forgetful(Keyring):
    def set_password(self, *args):
        pass


class Truncating(Keyring):
    def set_password(self, service, name, text):
        super().set_password(service, name, text[:20])


class WriteOnly(Keyring):
    def get_password(self, *args):
        raise UnicodeDecodeError("utf-8", b"", 0, 1, "no")


class Unstable(Keyring):
    """A keyring that fails from time to time."""

    calls = 0

    def set_password(self, *args):
        self.calls += 1
        if self.calls % 2:
            raise RuntimeError("try again")
        super().set_password(*args)


BACKENDS = [Keyring, Broken, ReadOnly, Forgetful, Truncating, WriteOnly, Unstable]


@pytest.fixture
def site():
    with FakeSite() as server:
        # At each test's end, the server notices within its interval that it is to stop.
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def backend():
    before = keyring.get_keyring()

    def use(backend):
        keyring.set_keyring(backend)
        return backend

    use(Broken())
    yield use
    keyring.set_keyring(before)


@pytest.fixture
def session(site, tmp_path):
    session = Session(Site(site.url, "cli"), folder=tmp_path / "data" / "apikeys")
    yield session
    session.close()


@pytest.fixture
def run(site, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    group = App("apikeys", server=site.url, client_id="cli").group()

    def run(*arguments, code=1):
        done = CliRunner().invoke(group, arguments)
        assert done.exit_code == code, (done.output, done.exception)
        assert done.exception is None or isinstance(done.exception, SystemExit)
        if code == 1:
            assert done.stderr.strip().startswith("Error: ")
            assert done.stderr.count("\n") == 1
        return done.output

    return run


def log_in(session):
    pauses = []
    session.log_in_by_device(lambda *shown: None, sleep=pauses.append)
    return pauses


def expire(session):
    session.store.save(session.store.load() | {"expires_at": 1})


@pytest.mark.parametrize("answer", NO_TOKENS.values(), ids=NO_TOKENS)
def test_polling_continues_after_a_server_error(site, session, answer):
    site.answers["/t"] = [answer, answer, oauth_error("authorization_pending")]

    log_in(session)

    assert session.token() == "a1"
    assert len(site.of("/t")) == 4


def test_polling_obeys_slow_down_and_retry_after(site, session):
    site.answers["/t"] = [
        AWAY, AWAY, MANY, oauth_error("authorization_pending"), oauth_error("slow_down"), AWAY,
    ]  # fmt: skip

    assert log_in(session) == [1, 2, 4, 8, 1, 6, 12]


def test_polling_continues_after_a_network_error(site, session):
    closed = []

    def send(request):
        if request.url.path == "/t" and len(closed) < 2:
            closed.append(request)
            raise httpx.ConnectError("no route to host")
        return httpx.Response(200, json=json.loads(Handler.usual(fake, request.url.path)))

    fake = type("Fake", (), {"server": site})
    session._http.close()
    session._http = httpx.Client(transport=httpx.MockTransport(send))

    assert log_in(session) == [1, 2, 4]


@pytest.mark.parametrize("error", ["access_denied", "expired_token", "invalid_client"])
def test_polling_stops_when_the_login_is_denied(site, session, error):
    site.answers["/t"] = [oauth_error(error)]

    with pytest.raises(LoginError, match=f"The login was refused: {error}"):
        log_in(session)


@pytest.mark.parametrize(
    "device",
    [
        {},
        {"device_code": "d", "user_code": "u", "verification_uri": "v"},
        {"device_code": "d", "user_code": "u", "verification_uri": "v", "expires_in": "soon"},
        {"device_code": 1, "user_code": "u", "verification_uri": "v", "expires_in": 1},
    ],
)
def test_an_incomplete_device_response_is_refused(site, session, device):
    site.answers["/d"] = [(200, {}, json.dumps(device).encode())]

    with pytest.raises(LoginError, match="did not return a device code"):
        log_in(session)


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE)
@pytest.mark.parametrize(
    "path",
    ["/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server", "/d"],
)
def test_a_login_that_cannot_start_reports_the_reason(site, run, path, answer):
    site.answers[path] = [answer]

    run("login", "--device")

    assert not site.issued


@pytest.mark.parametrize(
    "document",
    [
        {"token_endpoint": 5},
        {"token_endpoint": "https://["},
        {"token_endpoint": None},
        {"token_endpoint": "http://api.example.com"},
        {"revocation_endpoint": ["x"]},
    ],
)
def test_an_invalid_endpoint_url_is_refused(site, run, document):
    path = "/.well-known/oauth-authorization-server"
    data = {"issuer": site.url, "token_endpoint": site.url + "/t"} | document
    site.answers[path] = [(200, {}, json.dumps(data).encode())]

    run("login")


@pytest.mark.parametrize("servers", ["https://[", {"a": 1}, [None], [["x"]], 5])
def test_an_invalid_authorization_server_url_is_refused(site, run, servers):
    data = {"resource": site.url, "authorization_servers": servers}
    site.answers["/.well-known/oauth-protected-resource"] = [(200, {}, json.dumps(data).encode())]

    run("login")


@pytest.mark.parametrize("answer", NO_TOKENS.values(), ids=NO_TOKENS)
def test_a_failed_refresh_keeps_the_login(site, session, run, answer):
    log_in(session)
    expire(session)
    site.answers["/t"] = [answer]

    run("token")

    assert session.token() == "a2"
    assert site.of("/t")[-1]["refresh_token"] == "r1"


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE)
def test_a_failed_logout_is_reported(site, session, run, answer):
    log_in(session)
    site.answers["/r"] = [answer] if answer not in (LIST, HALF) else [AWAY]

    assert "were not revoked" in run("logout")

    assert "You are not logged in" in run("token")


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE)
def test_failed_requests_are_reported(site, session, run, answer):
    log_in(session)
    site.answers["/api/token/"] = [answer]

    run("whoami")

    assert "ada" in run("whoami", code=0)


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE)
def test_a_login_is_kept_if_the_user_name_is_unavailable(site, run, monkeypatch, answer):
    monkeypatch.setattr("apikeys.cli.session.time.sleep", lambda seconds: None)
    site.answers["/api/token/"] = [answer]

    done = CliRunner().invoke(
        App("apikeys", server=site.url, client_id="cli").group(), ["login", "--device"]
    )

    assert done.exit_code == 1
    assert "You are logged in, but your user name cannot be shown" in done.stderr
    assert run("token", code=0).strip() == "a1"


@pytest.mark.parametrize("path", ["https://[", "//["])
def test_an_invalid_path_is_refused(session, run, path):
    log_in(session)

    run("api", "GET", path)


def test_invalid_json_is_printed_unchanged(site, session, run):
    log_in(session)
    site.answers["/x"] = [HALF]

    assert run("api", "GET", "/x", code=0) == '{"access_to'


@pytest.mark.parametrize("backend_class", BACKENDS)
def test_tokens_survive_a_failing_keyring(site, session, backend, backend_class):
    used = backend(backend_class())
    used.kept["apikeys", session.store._name] = json.dumps({"access_token": "old"})
    log_in(session)
    assert session.token() == "a1"

    for number in range(2, 6):
        expire(session)
        assert session.token() == f"a{number}"
        assert site.of("/t")[-1]["refresh_token"] == f"r{number - 1}"

    session.log_out()
    assert site.of("/r")[-1]["token"] == "r5"
    with pytest.raises(NotLoggedIn):
        session.token()
    log_in(session)
    assert session.token() == "a6"


@pytest.mark.parametrize("backend_class", [Broken, ReadOnly, Forgetful, Truncating, WriteOnly])
def test_login_stops_if_tokens_cannot_be_stored(site, tmp_path, backend, backend_class, run):
    backend(backend_class())
    (tmp_path / "data").write_text("a file where the folder should be")

    assert "cannot be stored" in run("login", "--device")
    run("login")
    run("key", "new")

    assert not site.asked


@pytest.mark.parametrize("backend_class", [Broken, Keyring])
def test_an_unwritable_home_uses_no_refresh_token(
    site, session, tmp_path, backend, backend_class, run
):
    backend(backend_class())
    log_in(session)
    expire(session)
    folder = tmp_path / "data" / "apikeys"
    folder.rename(tmp_path / "elsewhere")
    folder.write_text("a file where the folder should be")

    run("token")
    folder.unlink()
    (tmp_path / "elsewhere").rename(folder)

    assert len(site.of("/t")) == 1
    assert session.token() == "a2"


def test_tokens_that_cannot_be_stored_are_revoked(site, session, tmp_path, monkeypatch):
    """The disk is full when the tokens arrive, but not before."""
    usual = Handler.usual

    def fill(handler, path):
        if path == "/t":
            session.store.file.unlink(missing_ok=True)
            session.store.file.mkdir()
            (session.store.file / "x").touch()
        return usual(handler, path)

    monkeypatch.setattr(Handler, "usual", fill)

    with pytest.raises(LoginError, match="were revoked"):
        log_in(session)

    assert site.of("/r")[-1]["token"] == "r1"


@pytest.mark.parametrize("text", [b"\xff", b"[" * 100_000, b"[]", b"5", b"{", b'{"a": 1}'])
def test_a_damaged_file_counts_as_logged_out(session, run, text):
    session.store.file.parent.mkdir(parents=True)
    session.store.file.write_bytes(text)

    assert "You are not logged in" in run("token")
    log_in(session)
    assert session.token() == "a1"


def test_an_unreadable_file_is_reported(session, run):
    session.store.file.mkdir(parents=True)

    assert "cannot be read" in run("token")


@pytest.mark.parametrize("text", ["no key", 5, None])
def test_a_damaged_private_key_is_reported(site, tmp_path, run, text):
    store = Store("apikeys", f"signing key at {site.url}", tmp_path / "data" / "apikeys")
    store.save({"private_key": text, "id": "0" * 16})

    assert "damaged" in run("key", "show")
    assert "damaged" in run("api", "GET", "/x", "--sign")


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [
        {"SSL_CERT_FILE": "/nonexistent/file"},
        {"HTTPS_PROXY": "nonsense://proxy"},
        {"ALL_PROXY": "https://["},
        {"PYTHON_KEYRING_BACKEND": "no.such.Keyring"},
        {"XDG_DATA_HOME": "/proc/no"},
        {"APIKEYS_SERVER": "https://["},
        {"APIKEYS_SERVER": "nonsense"},
    ],
    ids=str,
)
def test_an_invalid_environment_variable_is_reported(site, tmp_path, variables):
    done = subprocess.run(
        [sys.executable, "-m", "apikeys.cli", "--client-id", "cli", "login", "--no-browser"],
        env={
            "HOME": str(tmp_path),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "APIKEYS_SERVER": "http://127.0.0.1:9",
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["w3m", "lynx", "www-browser"])
def test_a_text_browser_is_not_opened(site, session, tmp_path, monkeypatch, name):
    """A text browser would take over the terminal in which the program waits."""
    browser = tmp_path / name
    if name == "www-browser":
        browser.symlink_to(tmp_path / "w3m")
        browser = tmp_path / "w3m"
    browser.write_text(f"#!/bin/sh\ntouch {tmp_path}/opened\n")
    browser.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("webbrowser._browsers", {})
    monkeypatch.setattr("webbrowser._tryorder", None)
    monkeypatch.setenv("BROWSER", str(tmp_path / name))

    session.log_in(lambda url: answer(url, code="c"))

    assert not (tmp_path / "opened").exists()
    assert session.token() == "a1"


def test_a_foreground_browser_does_not_block_the_login(session):
    closed = threading.Event()
    monkey = pytest.MonkeyPatch()
    browser = type("Browser", (), {"name": "firefox", "open": lambda self, url: closed.wait(60)})
    with monkey.context() as patch:
        patch.setattr("webbrowser.get", browser)
        session.log_in(lambda url: answer(url, code="c"))
    closed.set()

    assert session.token() == "a1"


@pytest.mark.parametrize("result", [{"error": "access_denied"}, {"x": "y"}])
def test_a_denied_browser_login_is_reported(site, session, result):
    with pytest.raises(LoginError, match="The login was refused"):
        session.log_in(lambda url: answer(url, **result), browse=None)
    assert not site.issued


@pytest.mark.parametrize("reply", UNUSABLE.values(), ids=UNUSABLE)
def test_a_refused_code_is_reported(site, session, reply):
    site.answers["/t"] = [reply]
    with pytest.raises(LoginError, match=site.url):
        session.log_in(lambda url: answer(url, code="c"), browse=None)


def answer(url, **params):
    """Send the browser's callback to the loopback server."""
    asked = httpx.URL(url).params
    back = f"{asked['redirect_uri']}?{urlencode({**params, 'state': asked['state']})}"
    threading.Thread(target=httpx.get, args=[back], daemon=True).start()
