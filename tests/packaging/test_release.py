"""The two files that are uploaded, the page that PyPI makes of them, and every extra."""

import email
import json
import re
import sys
import tarfile
import zipfile

import pytest

import apikeys
from tests.documents import ROOT, read
from tests.packaging.test_wheel import UV, run
from tests.services import require

pytestmark = pytest.mark.packaging

SET_UP = """
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="test",
    APIKEYS={{"PREFIX": "acme", "SCOPES": {{}}, "TRUSTED_PROXIES": ["127.0.0.1"],
        "GITHUB_KEYS_URL": "https://127.0.0.1:9/"}},
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
        "django.contrib.messages", "django.contrib.sessions", "rest_framework", {apps}],
    ROOT_URLCONF="apikeys.api.urls",
)
django.setup()
"""
#: What each extra is for, in use: (apps, code).
EXTRAS = {
    "cli": ("'apikeys'", "from apikeys.cli import App, BearerAuth, Session"),
    "gateway": ("'apikeys', 'apikeys.gateway'", "from apikeys.gateway.proxy import ReverseProxy"),
    "leaks": (
        "'apikeys'",
        "from apikeys.github import KeysUnavailable, is_signed\n"
        "try:\n    is_signed(b'', 'id', '')\nexcept KeysUnavailable:\n    pass",
    ),
    "limits": (
        "'apikeys'",
        "from apikeys.drf.throttling import _limiter; _limiter('memory://')",
    ),
    "networks": (
        "'apikeys'",
        "from apikeys.networks import client_ip; from django.test import RequestFactory;"
        "request = RequestFactory().get('/', headers={'X-Forwarded-For': '203.0.113.9'});"
        "assert client_ip(request) == '203.0.113.9', client_ip(request)",
    ),
    "ninja": ("'apikeys'", "from apikeys.ninja import KeyAuth; KeyAuth('payments:read')"),
    "oauth": (
        "'oauth2_provider', 'apikeys', 'apikeys.oauth'",
        "import apikeys.oauth.urls, apikeys.oauth.server, apikeys.oauth.validators",
    ),
    "redis": ("'apikeys'", "from apikeys.tracking import Tracking; import redis"),
    "schema": ("'apikeys', 'drf_spectacular'", "import apikeys.drf.schema, apikeys.api.schema"),
    "signatures": ("'apikeys'", "import apikeys.signatures.verification"),
    "testing": (
        "'apikeys'",
        "from apikeys.testing import PersonalAccessTokenFactory; import apikeys.testing.pytest",
    ),
}


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    require("uv", UV is not None, "Run the tests by the command in the README.")
    out = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--quiet", "--out-dir", out, cwd=ROOT)  # the wheel of the sdist
    return out


@pytest.fixture(scope="module")
def wheel(dist):
    (wheel,) = dist.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def sdist(dist):
    (sdist,) = dist.glob("*.tar.gz")
    return sdist


@pytest.fixture(scope="module")
def metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(archive.read(name))


def test_the_index_takes_them(wheel, sdist):
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist, cwd=ROOT)


def test_the_wheel_has_what_a_wheel_has(wheel):
    run(sys.executable, "-m", "check_wheel_contents", wheel, cwd=ROOT)
    names = zipfile.ZipFile(wheel).namelist()
    for pattern in (
        r"/py\.typed$",
        r"/migrations/0001_\w+\.py$",
        r"/templates/.+\.(html|txt)$",
        r"/static/.+\.(css|js|svg)$",
        r"/locale/de/LC_MESSAGES/django\.mo$",
        r"\.dist-info/licenses/LICENSE$",
    ):
        assert [name for name in names if re.search(pattern, name)], pattern


def test_the_sdist_makes_the_same_wheel_as_the_checkout(wheel, tmp_path):
    run(UV, "build", "--quiet", "--wheel", "--out-dir", tmp_path, cwd=ROOT)
    (direct,) = tmp_path.glob("*.whl")
    ours, theirs = zipfile.ZipFile(wheel), zipfile.ZipFile(direct)

    assert sorted(ours.namelist()) == sorted(theirs.namelist())
    differing = [n for n in ours.namelist() if ours.read(n) != theirs.read(n)]
    assert not [name for name in differing if not name.endswith("/RECORD")]


def test_the_sdist_has_the_source_and_what_explains_it(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = run("git", "ls-files", "apikeys", "docs", cwd=ROOT).splitlines()
    around = {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "PKG-INFO", ".gitignore"}

    assert names == {*tracked, *around}


def test_the_version_is_said_in_one_place(metadata):
    newest = re.search(r"^## (\d\S*)", read("CHANGELOG.md"), re.MULTILINE)

    assert metadata["Version"] == apikeys.__version__ == newest[1]
    assert "Development Status :: 5 - Production/Stable" in metadata.get_all("Classifier")


def test_the_page_on_the_index_needs_no_file_beside_it(metadata):
    page = metadata.get_payload()

    assert page.startswith("# apikeys\n")
    assert "pip install apikeys" in page
    assert "clone of this repository" not in page
    targets = re.findall(r"\]\(([^)]*)\)", page)
    assert targets
    assert not [target for target in targets if not target.startswith("https://")]


def test_every_extra_is_explained(metadata):
    written = "".join(
        path.read_text(encoding="utf-8")
        for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    )
    told = {
        name for names in re.findall(r"apikeys\[([\w,-]+)\]", written) for name in names.split(",")
    }

    assert told == set(metadata.get_all("Provides-Extra"))


def test_every_extra_is_tried(metadata):
    assert set(EXTRAS) == set(metadata.get_all("Provides-Extra"))


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_brings_what_its_part_needs(extra, wheel, tmp_path):
    apps, code = EXTRAS[extra]
    python = tmp_path / "venv" / "bin" / "python"
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv", cwd=tmp_path)
    run(UV, "pip", "install", "-q", "-p", python, f"{wheel}[{extra}]", cwd=tmp_path)

    run(python, "-W", "error::ImportWarning", "-c", SET_UP.format(apps=apps) + code, cwd=tmp_path)


def test_without_extras_their_modules_say_what_is_missing(wheel, tmp_path):
    """And nothing else does: the core needs none of them."""
    python = tmp_path / "venv" / "bin" / "python"
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv", cwd=tmp_path)
    run(UV, "pip", "install", "-q", "-p", python, wheel, cwd=tmp_path)
    code = SET_UP.format(apps="'apikeys'") + (
        "import importlib, json, pkgutil, apikeys\n"
        "failed = {}\n"
        "for found in pkgutil.walk_packages(apikeys.__path__, 'apikeys.', lambda name: None):\n"
        "    try:\n        importlib.import_module(found.name)\n"
        "    except ModuleNotFoundError as error:\n        failed[found.name] = error.name\n"
        "    except (ImportError, RuntimeError):\n        failed[found.name] = 'app'\n"
        "print(json.dumps(failed))"
    )
    failed = json.loads(run(python, "-c", code, cwd=tmp_path))

    parts = ("apikeys.oauth", "apikeys.gateway", "apikeys.cli", "apikeys.ninja", "apikeys.testing")
    parts += ("apikeys.drf.schema", "apikeys.api.schema")
    parts += ("apikeys.signatures.public_keys", "apikeys.signatures.verification")
    assert not [name for name in failed if not name.startswith(parts)], failed
    assert failed["apikeys.ninja"] == "ninja"
