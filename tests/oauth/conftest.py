import pytest
from oauth2_provider.models import Application

from example_project.payments.demo import PASSWORD
from tests.factories import MembershipFactory, UserFactory


@pytest.fixture
def ada(db, settings):
    settings.DEMO = True  # lets the published password in
    user = UserFactory(username="ada")
    user.set_password(PASSWORD)
    user.save()
    MembershipFactory(user=user, project__slug="analytical-engine", role="owner")
    return user


@pytest.fixture
def webapp(db):
    """The site's own page: a public client with the password grant."""
    return Application.objects.create(
        client_id="webapp",
        name="Web app",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_PASSWORD,
        client_secret="",
    )


@pytest.fixture
def log_in(client, ada, webapp):
    """The password grant (RFC 6749 section 4.3) against the real endpoint."""

    def log_in(**changes):
        form = {
            "grant_type": "password",
            "client_id": webapp.client_id,
            "username": "ada",
            "password": PASSWORD,
            "scope": "payments:read",
        }
        return client.post("/o/token/", form | changes)

    return log_in


@pytest.fixture
def cli_client(db):
    """A program's public client: a browser's log-in on the loopback (RFC 8252)."""
    return Application.objects.create(
        client_id="acme-cli",
        name="Acme on the command line",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris="http://127.0.0.1/callback",
        client_secret="",
    )


@pytest.fixture
def page(chromium):
    context = chromium.new_context()
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def authorize(page, ada, live_server):
    """Has ada open a URL in Chromium, log in, and allow what the page there asks."""

    def authorize(url, *, allow=True):
        page.goto(url)
        if "/login/" in page.url:
            page.get_by_label("Username").fill("ada")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name="Authorize" if allow else "Cancel").click()
        return page

    return authorize
