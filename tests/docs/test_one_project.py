"""A page uses only what its project has: the tutorial's, and what the page itself adds."""

import ast
import re
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from apikeys import scopes
from tests.docs.reader import Block, parse
from tests.docs.test_coverage import FOLLOWED
from tests.docs.test_how_to import PROJECT, TUTORIAL
from tests.documents import DOCUMENTS, read

HOW_TO = [page for page in DOCUMENTS if page.startswith(("docs/how-to/", "docs/tutorial/"))]
DISTRIBUTIONS = metadata.packages_distributions()
STARTS_ANEW = {"docs/how-to/own-project-model.md"}
#: They continue a site of the reader's own, or add a server or tenants to any site.
ANY_SITE = {
    "docs/how-to/into-an-existing-site.md",
    "docs/how-to/protect-an-mcp-server.md",
    "docs/how-to/django-tenants.md",
}


def before(page):
    """Return the text of the pages that a reader has followed, up to this one."""
    return read(page) if page in STARTS_ANEW else read(TUTORIAL) + read(PROJECT) + read(page)


@pytest.mark.parametrize("page", [each for each in HOW_TO if "/how-to/" in each])
def test_a_guide_says_what_it_needs_before_its_first_command(page):
    top = read(page).partition("```")[0]
    if page in STARTS_ANEW:
        assert "**new, empty** folder" in top
    elif page != "docs/how-to/import-keys.md" and page not in ANY_SITE:  # no step of its own
        assert "tutorial" in top or "You have a site with an older version." in top, (
            "Say which project the reader needs before the first code block: link the tutorial."
        )
    if "analytical-engine" in read(page) and page != PROJECT:
        assert "(index.md#create-the-project)" in read(page).partition("\n## ")[0], (
            "Say in the first section where the project analytical-engine comes from."
        )


@pytest.mark.parametrize("page", [each for each in HOW_TO if each not in ANY_SITE])
def test_the_project_declares_every_scope_of_the_page(page):
    named = set(re.findall(r"\b[a-z]+:(?:read|write)\b", read(page)))
    declared = set(re.findall(r'"([a-z]+:[a-z]+)"(?:: "|\] = )', before(page)))
    # These have a meaning of their own; a page that needs one links the page on it.
    assert named - declared <= scopes.BY_NAME


@pytest.mark.parametrize("page", HOW_TO)
def test_the_project_has_every_project_of_the_page(page):
    text = read(page)
    named = set(re.findall(r"--project ([\w-]+)", text))
    for columns, rows in re.findall(
        r"^ *(\w+(?:,\w+)*,project,.*)\n((?:.*,.*\n)+)", text, re.MULTILINE
    ):
        place = columns.split(",").index("project")
        named |= {row.split(",")[place] for row in rows.splitlines()} - {""}
    made = set(re.findall(r'slug="([\w-]+)"', before(page)))
    assert named <= made


def installed(page):
    """Return the distributions that the commands of the page, and of the tutorial, install."""
    lines = re.findall(r"pip install ([^`\n]+)", before(page))
    # These pages leave installing Django and the package itself to the reader.
    words = ["apikeys", *(word for line in lines for word in line.split() if word[0] != "-")]
    found, new = set(), [Requirement(word.strip("\"'`")) for word in words]
    while new:
        each = new.pop()
        key = (each.name.lower().replace("_", "-"), frozenset(each.extras))
        if key in found:
            continue
        found.add(key)
        for text in metadata.distribution(each.name).requires or []:
            needed = Requirement(text)
            extras = [{"extra": extra} for extra in each.extras] or [{"extra": ""}]
            if needed.marker is None or any(map(needed.marker.evaluate, extras)):
                new.append(needed)
    return {name for name, _ in found}


@pytest.mark.parametrize("page", sorted(FOLLOWED))
def test_every_package_that_the_page_imports_is_installed(page):
    blocks = [part for part in parse(page) if isinstance(part, Block) and part.language == "python"]
    files = re.findall(r"^# ([\w/]+)\.py$", before(page), re.MULTILINE)
    own = {part for file in files for part in file.split("/")[:1]} | {"acme", "teams"}
    imported = {
        module.partition(".")[0]
        for block in blocks
        for node in ast.walk(ast.parse(block.text))
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    foreign = imported - set(sys.stdlib_module_names) - own - {""}
    there = installed(page)
    for name in foreign - {"apikeys"}:
        names = {each.lower().replace("_", "-") for each in DISTRIBUTIONS[name]}
        assert names & there, f"{page} imports {name}, which no command of it installs."
