"""Hints of system checks name pages of the published documentation that exist."""

import ast
import re
import tomllib

import pytest

from apikeys.checks.migrations import _ORDER
from apikeys.conf.documentation import DOCUMENTATION, page
from tests.docs.system_checks import in_code, of_settings
from tests.documents import ROOT, headings


def named():
    """The arguments of every call of ``page()``, with the module of each."""
    for path in sorted((ROOT / "apikeys").rglob("*.py")):
        text = path.read_text("utf-8")
        if "conf.documentation import page" not in text:
            continue
        for call in ast.walk(ast.parse(text)):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "page":
                yield path.name, *map(ast.literal_eval, call.args)


@pytest.mark.parametrize(("module", "name", "anchor"), [(*each, "")[:3] for each in named()])
def test_every_page_and_anchor_exists(module, name, anchor):
    path = ROOT / "docs" / f"{name}.md"
    assert path.is_file()
    assert not anchor or anchor in headings(path)


def test_some_hints_name_pages():
    assert len(list(named())) >= 6


def test_the_address_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["urls"]["Documentation"] == DOCUMENTATION


def test_a_page_and_a_heading_have_urls():
    assert page("how-to/upgrade") == f"{DOCUMENTATION}how-to/upgrade.html"
    assert page("how-to/upgrade", "restore") == f"{DOCUMENTATION}how-to/upgrade.html#restore"
    assert f"{DOCUMENTATION}how-to/upgrade.html#" in _ORDER


def test_every_message_says_how_to_fix_it():
    """A fix that is only known at run time, …, says nothing on the page."""
    found = [*of_settings(), *in_code()]

    assert len(found) > 100
    assert [each[:2] for each in found if not each.fix.strip("….: ")] == []


def test_no_hint_names_a_file_of_the_repository():
    """Only the clone of a developer has it."""
    for check in in_code():
        assert not re.search(r"\bdocs/|\.md\b(?!\))(?!#)", re.sub(r"\]\(\S+?\)", "", check.fix))


def test_the_reference_links_to_the_pages():
    fixes = {check.id: check.fix for check in in_code()}
    link = "[how-to/import-keys](../how-to/import-keys.md#while-the-old-package-still-creates-keys)"
    assert link in fixes["apikeys.W052"]
