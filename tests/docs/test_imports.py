"""The pages on coming from elsewhere: their settings, files and commands do what they say."""

import re
import shlex

import pytest
from django.test import Client

from apikeys.legacy.schemes import HEADERS
from apikeys.models import LegacyKey
from tests.documents import blocks, read, table
from tests.legacy.conftest import api_key, authtoken_of, knox_of
from tests.management.conftest import apikeys  # noqa: F401

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.legacy.conftest")]


@pytest.fixture
def follow(apikeys, settings, tmp_path, monkeypatch):  # noqa: F811
    """Do what a page says, in a directory of one's own."""

    def follow(page):
        scope = {"APIKEYS": {**settings.APIKEYS}}
        for code in blocks(page, "python"):
            exec(code, scope)
        settings.APIKEYS = scope["APIKEYS"]
        monkeypatch.chdir(tmp_path)
        for line in "".join(blocks(page, "console")).splitlines():
            done = apikeys(*shlex.split(line.removeprefix("python manage.py apikeys ")))
            assert done.code == 0, done.err
        return done.out

    return follow


def status(**headers):
    return Client().get("/plain/", headers=headers).status_code


def test_authtoken(follow, ada):
    text = authtoken_of(ada)
    assert "1 imported" in follow("docs/how-to/import-from-authtoken.md")
    assert status(Authorization=f"Token {text}") == 200


def test_knox(follow, ada):
    text = knox_of(ada)
    assert "1 imported" in follow("docs/how-to/import-from-knox.md")
    assert status(Authorization=f"Token {text}") == 200


def test_drf_api_key(follow, ada):
    text = api_key()
    assert "1 imported" in follow("docs/how-to/import-from-drf-api-key.md")
    assert status(Authorization=f"Api-Key {text}") == 200


def test_csv(follow, ada, tmp_path):
    (lines,) = blocks("docs/how-to/import-from-csv.md", "text")
    (tmp_path / "keys.csv").write_text(lines)
    assert "2 imported" in follow("docs/how-to/import-from-csv.md")
    assert status(**{"X-Api-Key": "sk-4f9c2e7ab1d08356e2c4"}) == 200
    assert LegacyKey.objects.filter(salt="").count() == 2  # neither is weak


def test_a_mapping(apikeys, ada, tmp_path):  # noqa: F811
    page = read("docs/how-to/import-from-drf-api-key.md")
    (block,) = re.findall(r"^  ```text\n(.*?)```$", page, re.DOTALL | re.MULTILINE)
    lines = "\n".join(line.strip() for line in block.splitlines())
    (tmp_path / "places.csv").write_text(lines)
    api_key()
    done = apikeys(
        "import", "--from", "drf-api-key", "--map", str(tmp_path / "places.csv"), "--project",
        "analytical-engine", "--scope", "payments:read",
    )  # fmt: skip
    assert done.code == 0


def test_the_headers_are_those_of_the_packages():
    rows = table("docs/how-to/import-keys.md", "name")
    assert {name.strip("`"): header.strip("`") for name, header in rows} == dict(HEADERS)
