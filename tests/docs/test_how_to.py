"""The how-to pages, done word for word in the project of the tutorial."""

import contextlib
import shutil
import sys
from pathlib import Path

import pytest

from tests.docs.reader import Reader
from tests.docs.screenshots import browse, take
from tests.documents import ROOT

TUTORIAL = "docs/tutorial/first-keys.md"
PROJECT = "docs/how-to/index.md"
ELSEWHERE = {"index.md"}
PAGES = sorted(page.name for page in (ROOT / "docs/how-to").glob("*.md"))


def follow(folder):
    """Somebody in this folder, with the packages of the suite: there is no need for pip."""
    reader = Reader(folder, Path(sys.executable).parent)
    reader.skip = ("python3 -m venv", ". venv/bin/activate", "pip install")
    return reader


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    with contextlib.closing(follow(folder)) as reader:
        reader.read(TUTORIAL, until="Let the view take keys")
        reader.read(PROJECT)
    return folder


@pytest.fixture
def reader(tmp_path, made):
    """Somebody who has done the tutorial, and serves the project."""
    reader = follow(shutil.copytree(made, tmp_path / "acme"))
    reader.serve("python manage.py runserver")
    yield reader
    reader.close()


@pytest.fixture
def beginner(tmp_path):
    reader = follow(tmp_path)
    reader.serve("python manage.py runserver")
    yield reader
    reader.close()


@pytest.mark.parametrize(
    "page",
    [
        "protect-a-view",
        "own-policy",
        "rotate-without-downtime",
        "rotate-peppers",
        "respond-to-a-leak",
    ],
)
def test_a_page(reader, page):
    reader.read(f"docs/how-to/{page}.md")


def test_own_project_model(beginner):
    beginner.read("docs/how-to/own-project-model.md")


def test_own_look(reader, chromium):
    def in_a_browser():
        page = browse(chromium, reader, "/settings/keys/")
        assert page.locator("header").inner_text().startswith("Acme Reports")
        take(page, "own-look")
        page.context.close()

    reader.type("python manage.py apikeys mint --user ada --name laptop --scope reports:read")
    reader.read("docs/how-to/own-look.md", meanwhile={"Give the pages your look": in_a_browser})


def test_exchange_keys_for_jwts(reader):
    reader.read("docs/how-to/exchange-keys-for-jwts.md")


def test_secure_an_api_you_cannot_change(reader):
    reader.read("docs/how-to/secure-an-api-you-cannot-change.md")
