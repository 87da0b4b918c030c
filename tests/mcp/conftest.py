from contextlib import ExitStack

import pytest

from tests.example.conftest import Served
from tests.prepared import migrated


def served_by_mcp(factory):
    database, settings = factory.mktemp("mcp") / "demo.sqlite3", "tests.mcp.settings"
    migrated(factory, database, settings)
    return Served(database, words=["--mcp"], settings=settings)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The running example with its MCP servers. It knows the client of ``document.py``."""
    with served_by_mcp(tmp_path_factory) as served:
        yield served


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """The same, with MCP servers that accept only tokens that name them (RFC 8707)."""
    served = served_by_mcp(tmp_path_factory)
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DEMO_STRICT_RESOURCE", "1")
            stack.enter_context(served)
        yield served  # servers that start from here on are not strict
