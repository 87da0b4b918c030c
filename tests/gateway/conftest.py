import pytest

from apikeys.gateway import routes
from apikeys.gateway.models import ResourceBinding
from tests.factories import MembershipFactory, ProjectFactory, mint_key, mint_pat
from tests.gateway.attacks import OWN
from tests.gateway.servers import BlackBox, send


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


@pytest.fixture(scope="module")
def blackbox():
    with BlackBox() as blackbox:
        yield blackbox


@pytest.fixture
def bound(transactional_db, blackbox):
    """Analytical Engine has subscriber 1001, Compiler has 1002."""
    blackbox.seen.clear()
    engine, compiler = ProjectFactory(slug="engine"), ProjectFactory(slug="compiler")
    for project, identifier in ((engine, "1001"), (compiler, "1002")):
        ResourceBinding.objects.create(project=project, kind="subscriber_id", identifier=identifier)
    return engine


@pytest.fixture
def minted(bound):
    return mint_key(bound)


@pytest.fixture
def call(front, blackbox, minted):
    """What the server on the port ``front`` answers, and what the upstream saw of it."""

    def call(target=OWN, *headers, token=minted.token, **options):
        blackbox.seen.clear()
        sent = [f"Authorization: Bearer {token}"] if token else []
        answer = send(front, target, *sent, *headers, **options)
        return answer, list(blackbox.seen)

    return call
