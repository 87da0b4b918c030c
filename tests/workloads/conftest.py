import pytest

from tests.factories import ProjectFactory
from tests.workloads.issuer import GITHUB, SETTINGS


@pytest.fixture
def project(db):
    return ProjectFactory(slug="analytical-engine")


@pytest.fixture
def workloads(settings):
    """Trust the test issuers' workloads."""
    settings.APIKEYS = {**settings.APIKEYS, **SETTINGS}
    return settings.APIKEYS["WORKLOAD_ISSUERS"]


@pytest.fixture
def github(workloads):
    """Return a function that signs a token like those of GitHub Actions."""
    return GITHUB.token
