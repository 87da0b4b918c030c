import pytest

from example_project.payments.demo import PASSWORD
from tests.factories import MembershipFactory, ProjectFactory, UserFactory


@pytest.fixture
def engine(db):
    return ProjectFactory(slug="analytical-engine", name="Analytical Engine")


@pytest.fixture
def ada(engine, settings):
    """Owner of the analytical engine, with the demo's password."""
    settings.DEMO = True
    user = UserFactory(username="ada")
    user.set_password(PASSWORD)
    user.save()
    MembershipFactory(user=user, project=engine, role="owner")
    return user


@pytest.fixture
def page(client, ada):
    """Django's client, in which ada has just logged in."""
    client.force_login(ada)
    return client
