from contextlib import ExitStack

import pytest

from tests.example.conftest import Served


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The running example with its MCP servers. It knows the client of ``document.py``."""
    folder = tmp_path_factory.mktemp("mcp")
    settings = "tests.mcp.settings"
    with Served(folder / "demo.sqlite3", words=["--mcp"], settings=settings) as served:
        yield served


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """The same, with MCP servers that accept only tokens that name them (RFC 8707)."""
    folder = tmp_path_factory.mktemp("strict")
    settings = "tests.mcp.settings"
    served = Served(folder / "demo.sqlite3", words=["--mcp"], settings=settings)
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DEMO_STRICT_RESOURCE", "1")
            stack.enter_context(served)
        yield served  # servers that start from here on are not strict
