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
