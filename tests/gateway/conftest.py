import pytest

from apikeys.gateway import routes
from apikeys.gateway.models import ResourceBinding
from tests.factories import ProjectFactory, mint_key, mint_pat
from tests.gateway.attacks import OWN
from tests.gateway.servers import BlackBox, send


@pytest.fixture(autouse=True)
def _no_routes_of_another_test():
    routes.read_again()
    yield
    routes.read_again()


@pytest.fixture
def bind(db):
    """Return a function that binds a resource to a user or a project."""

    def bind(identifier, *, kind="subscriber_id", **owner):
        return ResourceBinding.objects.create(kind=kind, identifier=identifier, **owner)

    return bind


@pytest.fixture
def key(engine, bind):
    """Create a key of the project that subscriber 1001 is bound to."""
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
    """Bind subscriber 1001 to Analytical Engine and 1002 to Compiler."""
    blackbox.seen.clear()
    engine, compiler = ProjectFactory(slug="engine"), ProjectFactory(slug="compiler")
    for project, identifier in ((engine, "1001"), (compiler, "1002")):
        ResourceBinding.objects.create(project=project, kind="subscriber_id", identifier=identifier)
    return engine


@pytest.fixture
def minted(bound):
    return mint_key(bound)


@pytest.fixture
def answer_to(call, blackbox):
    """Return a function that has the upstream send header lines, and returns the response."""

    def answer_to(lines):
        blackbox.status = f"200 OK\r\n{lines}".removesuffix("\r\n")
        try:
            answer, _ = call()
        finally:
            blackbox.status = "200 OK"
        assert answer.status == 200
        return answer

    return answer_to


@pytest.fixture
def call(front, blackbox, minted):
    """Send a request to the port ``front``; return its response and what the upstream received."""

    def call(target=OWN, *headers, token=minted.token, **options):
        blackbox.seen.clear()
        sent = [f"Authorization: Bearer {token}"] if token else []
        answer = send(front, target, *sent, *headers, **options)
        return answer, list(blackbox.seen)

    return call
