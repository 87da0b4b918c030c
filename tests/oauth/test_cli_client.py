"""The command registers a client of its own. When something fails, no client is left behind."""

import json
from base64 import b64encode

import pytest

from apikeys.cli import LoginError, NotLoggedIn
from apikeys.cli.errors import NotStored
from tests.oauth import test_cli_failures as failures
from tests.oauth.test_cli_failures import AWAY, UNUSABLE, Keyring, expire, oauth_error

site, session, run, backend = failures.site, failures.session, failures.run, failures.backend

# The ID and the secret are form-encoded first (RFC 6749 section 2.3.1).
BASIC = "Basic " + b64encode(b"own%3A1:s%25cret").decode()
DELETED = ("DELETE", "/reg/own", "Bearer manage")


def register(session, **kwargs):
    session.log_in_by_device(lambda *shown: None, sleep=lambda s: None, as_client=True, **kwargs)


def test_the_client_gets_its_tokens_without_a_browser(site, session):
    register(session)

    assert site.of("/d") == [
        {"client_id": "cli", "scope": "payments:read oauth2_provider:registration"}
    ]
    assert ("POST", "/reg", "Bearer a1") in site.authorized
    # The login of the browser has ended.
    assert site.of("/r") == [
        {"client_id": "cli", "token": "r1", "token_type_hint": "refresh_token"}
    ]
    assert site.of("/t")[1:] == [{"grant_type": "client_credentials"}]
    assert session.token() == "a2"
    stored = session.store.load()
    assert "refresh_token" not in stored
    assert "r1" not in json.dumps(stored)

    expire(session)
    assert session.token() == "a3"
    assert session.refreshed("a3") == "a4"
    assert site.authorized[-1] == ("POST", "/t", BASIC)


def test_the_keyring_stores_the_secret(session, backend):
    used = backend(Keyring())
    register(session)
    assert list(used.kept) == [("apikeys", session.store._name)]
    assert not session.store.file.exists()


def test_requested_scopes_are_kept(site, session):
    register(session, scopes=["reports:read"])
    assert site.of("/d")[0]["scope"] == "reports:read oauth2_provider:registration"


def test_logout_deletes_the_client(site, session):
    register(session)
    session.log_out()
    assert site.authorized[-1] == DELETED
    with pytest.raises(NotLoggedIn):
        session.token()


def test_another_login_deletes_the_earlier_client(site, session):
    register(session)
    session.log_in_by_device(lambda *shown: None, sleep=lambda seconds: None)
    assert site.authorized[-1] == DELETED
    assert session.store.load()["refresh_token"] == "r3"

    register(session)
    site.answers["/reg/own"] = [AWAY]
    with pytest.raises(LoginError, match="client of your earlier login was not deleted"):
        register(session)
    assert session.token() == "a7"


def test_a_site_without_registration_is_reported(site, run):
    document = {"issuer": site.url, "token_endpoint": site.url + "/t"}
    path = "/.well-known/oauth-authorization-server"
    site.answers[path] = [(200, {}, json.dumps(document).encode())]
    assert "Log in without --client" in run("login", "--device", "--client")
    assert not site.of("/t")


def test_a_login_that_allows_no_registration_is_revoked(site, session):
    token = {"access_token": "a", "refresh_token": "r", "scope": "payments:read"}
    site.answers["/t"] = [(200, {}, json.dumps(token).encode())]
    with pytest.raises(LoginError, match="allow everything"):
        register(session)
    assert not site.of("/reg")
    assert site.of("/r")[0]["token"] == "r"
    with pytest.raises(NotLoggedIn):
        session.token()


@pytest.mark.parametrize(
    "answer",
    [
        *UNUSABLE.values(),
        oauth_error("invalid_client_metadata"),
        oauth_error("access_denied", 401),
        oauth_error("too_many_requests", 429),
        (201, {}, b'{"client_id": "x"}'),
        (201, {}, b'{"client_id": "x", "client_secret": "a\\nb"}'),
    ],
)
def test_a_refused_registration_ends_the_login(site, session, run, answer):
    site.answers["/reg"] = [answer]
    with pytest.raises(LoginError):
        register(session)
    assert site.of("/r")[0]["token"] == "r1"
    assert "not logged in" in run("token")


def test_a_client_managed_over_plain_http_is_refused(site, session):
    made = {
        "client_id": "x",
        "client_secret": "y",
        "registration_client_uri": "http://api.example.com/reg",
        "registration_access_token": "z",
    }
    site.answers["/reg"] = [(201, {}, json.dumps(made).encode())]
    with pytest.raises(LoginError, match="not https"):
        register(session)


@pytest.mark.parametrize("path", ["/r", "/t"])
def test_a_client_that_cannot_be_used_is_deleted(site, session, path):
    """Its login cannot be revoked, or it gets no token."""
    token = {"access_token": "a", "refresh_token": "r"}
    site.answers["/t"] = [(200, {}, json.dumps(token).encode())]
    site.answers.setdefault(path, []).append(oauth_error("invalid_scope"))
    with pytest.raises(LoginError):
        register(session)
    assert site.authorized[-1] == DELETED
    with pytest.raises(NotLoggedIn):
        session.token()


def test_a_client_that_cannot_be_stored_is_deleted(site, session, monkeypatch):
    def fail(record):
        raise NotStored("The disk is full.")

    save = session.store.save
    monkeypatch.setattr(
        session.store, "save", lambda record: fail(record) if record else save(record)
    )
    with pytest.raises(LoginError, match="The disk is full"):
        register(session)
    assert site.authorized[-1] == DELETED


def test_a_revoked_client_is_reported(site, session, run):
    register(session)
    expire(session)
    site.answers["/t"] = [oauth_error("invalid_client", 401)]
    assert "has no access any more" in run("token")


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE)
def test_a_failed_token_request_keeps_the_client(site, session, run, answer):
    register(session)
    expire(session)
    site.answers["/t"] = [answer]
    run("token")
    assert session.token() == "a3"


def test_logout_reports_a_client_that_still_works(site, session):
    register(session)
    # The registration token has expired, but the client has not been deleted.
    site.answers["/reg/own"] = [oauth_error("invalid_token", 401)]
    with pytest.raises(LoginError, match="were not revoked"):
        session.log_out()

    register(session)
    site.answers["/reg/own"] = [oauth_error("invalid_token", 401)]
    site.answers["/t"] = [oauth_error("invalid_client", 401)]
    session.log_out()


def test_a_token_for_an_agent_needs_a_login(session, run):
    register(session)
    assert "without --client" in run("token", "--for", "1h")
