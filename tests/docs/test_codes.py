"""Every code that the package can answer with is on the page about the part that raises it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import apikeys
from apikeys.restrictions import CODES
from tests.documents import ROOT, read

PACKAGE = Path(apikeys.__file__).parent
REFUSALS = "docs/reference/refusals.md"
#: The page of each part, the most specific folder first. An error of the admin is a sentence.
PAGES = {
    "gateway/management": "docs/reference/commands.md",
    "gateway/api.py": "docs/reference/gateway.md",
    "gateway/models.py": None,  # of a form; the JSON API answers with the codes of its fields
    "admin": None,
    "api/leaks.py": "docs/reference/leaks.md",
    "api": "docs/reference/api.md",
    "issuers/management": "docs/reference/commands.md",
    "importing": "docs/reference/commands.md",
    "lifecycle": "docs/reference/api.md",
    "management": "docs/reference/commands.md",
    "models": "docs/reference/api.md",
    "reach": "docs/reference/api.md",
    "oauth": "docs/reference/oauth.md",
    "refusals.py": REFUSALS,
    "keys": "docs/reference/api.md",
    "restrictions": "docs/reference/api.md",
    "workloads": "docs/reference/api.md",
}
#: Raised where no code is shown: for Python callers, or with a field of a page's form.
NOT_SHOWN = {"made_already", "invalid_choice", "changed_meanwhile"}
NOT_SHOWN |= {"expired_user_code", "incorrect_user_code", "user_code_already_used"}


def raised(source: str) -> set[str]:
    """Return the codes that the source of a module raises or answers with."""
    codes = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in {"LifecycleError", "Refusal", "error_response"}:
                codes |= {value for arg in node.args[:1] if (value := _text(arg))}
            if name in {"ErrorDetail", "ValidationError"}:
                codes |= {v for k in node.keywords if k.arg == "code" and (v := _text(k.value))}
        if isinstance(node, ast.Assign) and (value := _text(node.value)):
            names = {getattr(target, "id", "") for target in node.targets}
            if names & {"default_code", "code", "error"}:
                codes.add(value)
    return codes


def _text(node):
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def page_of(path, code):
    if path.startswith("restrictions") and code in CODES:
        return REFUSALS
    return next(page for start, page in PAGES.items() if path.startswith(start))


@pytest.fixture(scope="module")
def found() -> list[tuple[str, str]]:
    """Every code, after the module that raises it."""
    return sorted(
        (str(path.relative_to(PACKAGE)), code)
        for path in PACKAGE.rglob("*.py")
        for code in raised(path.read_text("utf-8"))
    )


@pytest.mark.slow
def test_the_scan_finds_codes_of_every_form(found):
    codes = {code for _, code in found}
    assert {"verification_busy", "name_required", "invalid_expiry", "csrf_failed"} <= codes
    assert {"too_many_tries", "private_key_given", "unknown_field", "does_not_exist"} <= codes


def test_every_code_is_on_the_page_of_its_part(found):
    missing = [
        f"{page} does not name {code} of {path}."
        for path, code in found
        if (page := page_of(path, code)) and code not in NOT_SHOWN | documented(page)
    ]
    assert missing == []


@cache
def documented(page: str) -> set[str]:
    names = set(re.findall(r"`(\w+)`", read(page)))
    if page == "docs/reference/commands.md":  # which refers to the other
        names |= documented("docs/reference/api.md")
    return names


def test_the_page_of_refusals_links_the_pages_with_other_codes():
    links = re.findall(r"\]\(([\w-]+\.md)", read(REFUSALS))
    assert {f"docs/reference/{name}" for name in links} >= {*PAGES.values()} - {None, REFUSALS}
    assert all((ROOT / "docs/reference" / name).exists() for name in links)
