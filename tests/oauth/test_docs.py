"""The documentation of OAuth: its code runs, and its table lists the libraries of the tests."""

import json
import re

from django.utils.module_loading import import_string

from apikeys.oauth.conf import oauth_settings
from tests.documents import ROOT, blocks

#: Libraries in Python: the module that a test imports, and the test.
PYTHON = {
    "mcp": ("mcp", "mcp/test_python_sdk.py"),
    "Authlib": ("authlib", "oauth/test_real_clients.py"),
    "requests-oauthlib": ("requests_oauthlib", "oauth/test_real_clients.py"),
    "httpx-oauth": ("httpx_oauth", "oauth/test_real_clients.py"),
}


def test_the_table_names_each_library_that_is_tested():
    for module, path in PYTHON.values():
        assert re.search(rf"(?m)^from {module}\b", (ROOT / "tests" / path).read_text())
    package = json.loads((ROOT / "tests/mcp/js/package.json").read_text())
    section = (ROOT / "docs/reference/oauth.md").read_text().split("## What each client library")[1]
    rows = re.findall(r"(?m)^\| `([^`]+)` \((Python|JavaScript)\) \|", section.split("\n## ")[0])

    assert {name for name, language in rows if language == "Python"} == set(PYTHON)
    assert {name for name, language in rows if language == "JavaScript"} == set(
        package["dependencies"]
    )


def test_the_code_runs(tmp_path, monkeypatch, settings):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    from django.urls import include, path

    found = blocks("docs/reference/oauth.md", "python")
    installed, urls, jwts, app, client, open_to_all = found
    scope = {"INSTALLED_APPS": [], "include": include, "path": path}
    exec(installed, scope)
    for dotted in (v for name, v in scope["OAUTH2_PROVIDER"].items() if name.endswith("_CLASS")):
        import_string(dotted)
    exec(urls, scope)
    exec(jwts, scope)
    settings.APIKEYS = settings.APIKEYS | scope["APIKEYS"]
    assert oauth_settings.JWT_RESOURCES == ["https://mcp.example.com/mcp"]
    assert oauth_settings.errors() == []
    exec(app, scope)
    exec(client, scope)
    exec(open_to_all, scope)
    for dotted in scope["OAUTH2_PROVIDER"]["DCR_REGISTRATION_PERMISSION_CLASSES"]:
        import_string(dotted)
    assert len(scope["urlpatterns"]) == 4
    assert set(scope["group"].commands) == {"login", "whoami", "token", "api", "key", "logout"}
    scope["client"].close()
