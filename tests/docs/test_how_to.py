"""The how-to pages, done word for word in the project of the tutorial."""

import contextlib
import shutil
import sys
from pathlib import Path

import pytest

from tests.docs.reader import Reader
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
