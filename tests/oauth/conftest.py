import ssl
from base64 import urlsafe_b64encode
from functools import cache
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

import pytest
from oauth2_provider.models import Application

from tests.factories import PASSWORD, MembershipFactory

VERIFIER = "v" * 64
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
REDIRECT = "https://app.example/callback"
SECRET = "a-secret-of-the-client"

# It takes the place of a package of django-oauth-toolkit's tests; see `test_dot_suite.py`.
collect_ignore = ["dot/support"]


@pytest.fixture(scope="module", autouse=True)
def authorities():
    """Read the trusted certificates once, not for each HTTP client of the CLI."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture
def webapp(db):
    """Create the site's first-party client: public, with the password grant."""
    return Application.objects.create(
        client_id="webapp",
        name="Web app",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_PASSWORD,
        client_secret="",
    )


@pytest.fixture
def log_in(client, ada, webapp):
    """Return a function that gets a token with the password grant (RFC 6749 section 4.3)."""

    def log_in(address="127.0.0.1", **changes):
        form = {
            "grant_type": "password",
            "client_id": webapp.client_id,
            "username": "ada",
            "password": PASSWORD,
            "scope": "payments:read",
        }
        return client.post("/o/token/", form | changes, REMOTE_ADDR=address)

    return log_in


@pytest.fixture
def cli_client(db):
    """Create the public client of a program that logs in with a browser (RFC 8252)."""
    return Application.objects.create(
        client_id="acme-cli",
        name="Acme on the command line",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris="http://127.0.0.1/callback",
        client_secret="",
    )


@pytest.fixture
def app(db):
    """Create a public client with the authorization code grant."""
    return Application.objects.create(
        client_id="app",
        name="Payments app",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris=REDIRECT,
        client_secret="",
    )


@pytest.fixture
def query(app):
    """Return the parameters of an authorization request of ``app``."""
    return {
        "client_id": "app",
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "payments:read reports:read",
        "state": "xyz",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }


@pytest.fixture
def service(db):
    """Create a confidential client with the client credentials grant."""
    return Application.objects.create(
        client_id="service",
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
        client_secret=SECRET,
    )


@pytest.fixture
def two(ada):
    """Make ada a member of a second project."""
    return MembershipFactory(user=ada, project__slug="two", project__name="Two").project


@pytest.fixture
def page(chromium):
    context = chromium.new_context()
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def authorize(page, ada, live_server):
    """Return a function that opens a URL in Chromium, logs in as ada and authorizes the client."""

    def authorize(url, *, allow=True):
        page.goto(url)
        if "/login/" in page.url:
            page.get_by_label("Username").fill("ada")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name="Authorize" if allow else "Cancel").click()
        return page

    return authorize


@pytest.fixture
def visitor(client, ada):
    """Return the test client, in which ada has just logged in."""
    client.force_login(ada)
    return client


@pytest.fixture
def answer(visitor, query):
    """Return a function that submits the consent page and returns the scope that was granted."""

    def answer(scope="payments:write reports:read", **changes):
        form = query | {"scope": scope, "allow": "Authorize"} | changes
        response = visitor.post("/o/authorize/", form)
        if response.status_code != 302:
            return response.content.decode()
        (code,) = parse_qs(urlsplit(response["Location"]).query)["code"]
        redeemed = {"grant_type": "authorization_code", "client_id": "app", "code": code}
        redeemed |= {"redirect_uri": REDIRECT, "code_verifier": VERIFIER}
        return visitor.post("/o/token/", redeemed).json()["scope"]

    return answer
