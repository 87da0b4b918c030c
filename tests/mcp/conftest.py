import pytest

from tests.example.conftest import Served


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The running example with its MCP servers."""
    folder = tmp_path_factory.mktemp("mcp")
    with Served(folder / "demo.sqlite3", words=["--mcp"]) as served:
        yield served
