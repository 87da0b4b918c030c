"""The code of the guide runs: docs/how-to/protect-an-mcp-server.md."""

import importlib.util
import sys
from types import ModuleType

import pytest

from apikeys.mcp import TokenVerifier
from apikeys.oauth.conf import oauth_settings
from example_project.payments import models as payments
from tests.documents import blocks
from tests.factories import ProjectFactory, mint_key
from tests.mcp.asgi import ask, send

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "docs/how-to/protect-an-mcp-server.md"
URL = "https://api.example.com/mcp"


@pytest.fixture
def code():
    """Return the blocks of the page by the name of their file."""
    found = blocks(PAGE, "python")
    return {text.splitlines()[0].removeprefix("# "): text for text in found}


@pytest.fixture
def served(code, monkeypatch):
    """Return a function that makes the application of the page, a new one each time."""
    monkeypatch.setitem(sys.modules, "payments", ModuleType("payments"))
    monkeypatch.setitem(sys.modules, "payments.models", payments)
    monkeypatch.setitem(sys.modules, "acme", ModuleType("acme"))

    def make():
        made = ModuleType("acme.tools")
        exec(compile(code["acme/tools.py"], "acme/tools.py", "exec"), vars(made))
        monkeypatch.setitem(sys.modules, "acme.tools", made)
        scope = {"__name__": "acme.asgi"}
        exec(compile(code["acme/asgi.py"], "acme/asgi.py", "exec"), scope)
        return scope["application"]

    return make


def test_server_beside_django(served):
    project = ProjectFactory()
    payment = payments.Payment.objects.create(project=project, amount=1)
    token = mint_key(project, scopes=["payments:read"]).token
    assert ask(served, URL).status_code == 401
    assert "list_payments" in ask(served, URL, "tools/list", token).text
    params = {"name": "list_payments", "arguments": {}}
    assert f"[{payment.pk}]" in ask(served, URL, "tools/call", token, params).text.replace(" ", "")
    params = {"name": "cancel_payment", "arguments": {"number": 1}}
    assert ask(served, URL, "tools/call", token, params).status_code == 403
    found = send(served, "GET", "https://api.example.com/.well-known/oauth-protected-resource/mcp")
    assert found.json()["authorization_servers"] == ["https://api.example.com/o"]


def test_verifiers_of_another_process(code, monkeypatch):
    monkeypatch.setenv("CLIENT_SECRET", "x")
    for name, source in (("agents.py", "Introspection"), ("offline.py", "Keys")):
        scope = {}
        exec(compile(code[name], name, "exec"), scope)
        assert isinstance(scope["verifier"], TokenVerifier)
        assert source in repr(scope["verifier"])
        assert "x" not in repr(scope["verifier"]).partition("with")[2]


def test_settings(code, settings):
    scope = {"APIKEYS": dict(settings.APIKEYS)}
    exec(compile(code["acme/settings.py"], "settings", "exec"), scope)
    settings.APIKEYS = scope["APIKEYS"]
    assert oauth_settings.RESOURCE_SERVERS == {"acme-mcp": ["https://mcp.example.com/mcp"]}
    exec(compile(code["acme/settings.py, for offline.py"], "settings", "exec"), scope)
    settings.APIKEYS = scope["APIKEYS"]
    assert oauth_settings.JWT_RESOURCES == ["https://mcp.example.com/mcp"]


def test_page_names_what_the_example_serves():
    text = "\n".join(blocks(PAGE, "console"))
    assert "python manage.py demo --mcp" in text
    assert importlib.util.find_spec("example_project.mcp_server")
