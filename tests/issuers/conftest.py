import pytest

from apikeys.issuers import keys
from tests.issuers.provider import Server


@pytest.fixture(autouse=True)
def _forget():
    keys.forget()
    yield
    keys.forget()


@pytest.fixture
def server(settings):
    """A provider on this computer, which is allowed in DEBUG."""
    settings.DEBUG = True
    server = Server()
    server.provide()
    yield server
    server.close()
