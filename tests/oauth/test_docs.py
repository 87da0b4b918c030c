"""The table of requirements names tests that there are."""

import ast

import pytest
from django.utils.module_loading import import_string

from tests.documents import ROOT, blocks, table


def names(module):
    tree = ast.parse((ROOT / "tests" / "oauth" / module).read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}::{f.name}" for f in node.body if hasattr(f, "name"))


@pytest.mark.parametrize(
    "row", table("docs/reference/oauth.md", "requirement"), ids=lambda row: row[0]
)
def test_every_requirement_has_its_test(row):
    module, _, name = row[1].strip("`").partition("::")
    assert name in set(names(module))


def test_the_code_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    from django.urls import include, path

    settings, urls, app, client = blocks("docs/reference/oauth.md", "python")
    assert settings in blocks("README.md", "python")
    scope = {"INSTALLED_APPS": [], "include": include, "path": path}
    exec(settings, scope)
    for dotted in (v for name, v in scope["OAUTH2_PROVIDER"].items() if name.endswith("_CLASS")):
        import_string(dotted)
    exec(urls, scope)
    exec(app, scope)
    exec(client, scope)
    assert len(scope["urlpatterns"]) == 4
    assert set(scope["group"].commands) == {"login", "whoami", "token", "api", "logout"}
    scope["client"].close()
