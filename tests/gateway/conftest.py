import pytest

from apikeys.gateway import routes
from apikeys.gateway.models import ResourceBinding
from tests.factories import MembershipFactory, ProjectFactory, mint_key, mint_pat


@pytest.fixture(autouse=True)
def _no_routes_of_another_test():
    routes.forget()
    yield
    routes.forget()


@pytest.fixture
def bind(db):
    """Binds to a user or a project."""

    def bind(identifier, *, kind="subscriber_id", **owner):
        return ResourceBinding.objects.create(kind=kind, identifier=identifier, **owner)

    return bind


@pytest.fixture
def engine(db):
    return ProjectFactory(slug="analytical-engine")


@pytest.fixture
def ada(engine):
    return MembershipFactory(user__username="ada", project=engine, role="owner").user


@pytest.fixture
def key(engine, bind):
    """A key of the project that subscriber 1001 belongs to."""
    bind("1001", project=engine)
    return mint_key(engine).token


@pytest.fixture
def pat(ada):
    return mint_pat(ada).token
