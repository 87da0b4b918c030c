import pytest

from tests.signing import caller, ed25519_key, p256_key


@pytest.fixture(autouse=True)
def _urls(settings):
    settings.ROOT_URLCONF = "tests.signatures.urls"


@pytest.fixture(params=[ed25519_key, p256_key], ids=["ed25519", "p256"])
def someone(request, engine, ada):
    """Create a caller with a key of each algorithm."""
    return caller(engine, request.param(), name="worker-3", by=ada)


@pytest.fixture
def worker(engine, ada):
    return caller(engine, name="worker-3", by=ada)
