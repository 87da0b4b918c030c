"""The structure of the package: the direction of imports, and what each package says of itself."""

import ast
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parent.parent
PACKAGES = sorted(
    path for path in ROOT.glob("apikeys/**/__init__.py") if path.parent.name != "migrations"
)


@pytest.mark.slow
def test_imports_follow_the_contracts_in_pyproject(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    status = lint_imports(no_cache=True, no_logo=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_a_package_says_what_lives_in_it_and_what_does_not(path):
    """The first paragraph is printed in the public API; the second one may be longer."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    first, _, rest = text.partition("\n\n")
    assert first.endswith(".")
    assert rest.endswith(".")


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in ROOT.glob("apikeys/**/*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]
