import pytest

from apikeys.issuers import keys
from apikeys.issuers.models import Identity
from tests.issuers import provider
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


@pytest.fixture
def trust(settings):
    """Return a function that trusts the provider, with these options."""

    def trust(url=provider.URL, **options):
        entry = {"AUDIENCES": [provider.AUDIENCE], "JWKS": provider.jwks(), **options}
        entry = {name: value for name, value in entry.items() if value is not None}
        issuers = {**settings.APIKEYS.get("ISSUERS", {}), url: entry}
        settings.APIKEYS = {**settings.APIKEYS, "ISSUERS": issuers}

    return trust


@pytest.fixture
def identity(ada, trust):
    """Ada, as the provider knows her."""
    trust()
    return Identity.objects.create(issuer=provider.URL, subject="u-1", user=ada)
