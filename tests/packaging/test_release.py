"""The two files that are uploaded, the page that PyPI makes of them, and every extra."""

import email
import json
import re
import sys
import tarfile
import tomllib
import zipfile
from html.parser import HTMLParser

import pytest
from packaging.requirements import Requirement
from readme_renderer import markdown

import apikeys
from tests.documents import DOCUMENTS, ROOT, headings, links, read
from tests.packaging.test_wheel import UV, run
from tests.services import require
from tests.tiers import sampled

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
    "channels": ("'apikeys'", "import channels; from apikeys.channels import BearerMiddleware"),
    "cli": ("'apikeys'", "from apikeys.cli import App, BearerAuth, Session"),
    "gateway": ("'apikeys', 'apikeys.gateway'", "from apikeys.gateway.proxy import ReverseProxy"),
    "issuers": (
        "'apikeys', 'apikeys.issuers'",
        "import apikeys.issuers.tokens, apikeys.issuers.trusted, apikeys.issuers.urls",
    ),
    "leaks": (
        "'apikeys'",
        "from apikeys.leaks.github import KeysUnavailable, is_signed\n"
        "try:\n    is_signed(b'', 'id', '')\nexcept KeysUnavailable:\n    pass",
    ),
    "limits": (
        "'apikeys'",
        "from apikeys.limits.counting import _limiter; _limiter('memory://')",
    ),
    "mcp": (
        "'apikeys'",
        "from apikeys.mcp import ToolScopes, TokenVerifier; import apikeys.mcp.sources",
    ),
    "networks": (
        "'apikeys'",
        "from apikeys.limits.networks import client_ip; from django.test import RequestFactory;"
        "request = RequestFactory().get('/', headers={'X-Forwarded-For': '203.0.113.9'});"
        "assert client_ip(request) == '203.0.113.9', client_ip(request)",
    ),
    "ninja": ("'apikeys'", "from apikeys.ninja import KeyAuth; KeyAuth('payments:read')"),
    "oauth": (
        "'oauth2_provider', 'apikeys', 'apikeys.oauth'",
        "import apikeys.oauth.urls, apikeys.oauth.server, apikeys.oauth.validators",
    ),
    "redis": ("'apikeys'", "from apikeys.cache.invalidation import Tracking; import redis"),
    "schema": ("'apikeys', 'drf_spectacular'", "import apikeys.drf.schema, apikeys.api.schema"),
    "signatures": ("'apikeys'", "import apikeys.signatures.verification"),
    "strawberry": (
        "'apikeys'",
        "from apikeys.strawberry import RequireScopes; RequireScopes('payments:read')",
    ),
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


@pytest.fixture(scope="module")
def urls(metadata):
    return dict(line.split(", ") for line in metadata.get_all("Project-URL"))


class Page(HTMLParser):
    """The targets of the links and pictures of a page."""

    def __init__(self, html):
        super().__init__()
        self.targets = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.targets += [value for name, value in attributes if name in {"href", "src"}]


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


def test_pypi_shows_every_link_that_a_user_looks_for(urls):
    assert set(urls) == {"Changelog", "Documentation", "Issues", "Security", "Source"}
    assert all(url.startswith("https://") for url in urls.values())
    assert urls["Changelog"] == urls["Documentation"] + "changelog.html"
    assert urls["Issues"].startswith(urls["Source"] + "/")
    assert urls["Security"].startswith(urls["Source"] + "/")


def test_every_link_of_the_page_on_pypi_leads_somewhere(metadata, urls):
    """Links lead to the documentation site or to the repository, and their targets exist."""
    page = metadata.get_payload(decode=True).decode()
    assert metadata["Description-Content-Type"] == "text/markdown"
    html = markdown.render(page)
    assert html is not None
    assert "pip install apikeys" in html
    assert "in a clone" not in html.lower()

    shown = {name for document in DOCUMENTS[1:] for name in links(document)}
    repository = f"{urls['Source']}/blob/main/"
    led = {"pages": 0, "pictures": 0, "files": 0}
    for target in Page(html).targets:
        if target.startswith("#"):  # what makes a heading linkable
            continue
        assert target.startswith(("https://", "http://127.0.0.1:8000/")), target
        if target.startswith(urls["Documentation"]):
            path, _, anchor = target.removeprefix(urls["Documentation"]).partition("#")
            if path.startswith("_images/"):  # has the pictures that a page of the site shows
                assert any(name.endswith(path[1:]) for name in shown), target
                led["pictures"] += 1
            else:
                source = ROOT / "docs" / path.replace(".html", ".md")
                assert source.is_file(), target
                assert not anchor or anchor in headings(source), target
                led["pages"] += 1
        elif target.startswith(repository):
            assert (ROOT / target.removeprefix(repository)).is_file(), target
            led["files"] += 1
    assert all(led.values()), led


def test_every_link_within_the_page_on_pypi_leads_to_a_heading_of_it(metadata, tmp_path):
    page = tmp_path / "page.md"
    page.write_bytes(metadata.get_payload(decode=True))
    within = re.findall(r"\]\(#([^)]+)\)", page.read_text("utf-8"))

    assert [anchor for anchor in within if anchor not in headings(page)] == []


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


@pytest.mark.parametrize("extra", sampled(EXTRAS, 4))
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
    parts += ("apikeys.issuers", "apikeys.mcp")
    parts += ("apikeys.strawberry", "apikeys.drf.dot")
    parts += ("apikeys.drf.schema", "apikeys.api.schema")
    parts += ("apikeys.signatures.public_keys", "apikeys.signatures.verification")
    assert not [name for name in failed if not name.startswith(parts)], failed
    assert failed["apikeys.ninja"] == "ninja"


def test_the_command_line_runs_where_django_is_not_installed(metadata, wheel, tmp_path):
    python = tmp_path / "venv" / "bin" / "python"
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv", cwd=tmp_path)
    declared = map(Requirement, metadata.get_all("Requires-Dist"))
    needed = [f"{r.name}{r.specifier}" for r in declared if "cli" in str(r.marker or "")]
    assert needed
    run(UV, "pip", "install", "-q", "-p", python, "--no-deps", wheel, cwd=tmp_path)
    run(UV, "pip", "install", "-q", "-p", python, *needed, cwd=tmp_path)

    found = "import importlib.util as u; print(u.find_spec('django'), u.find_spec('argon2'))"
    assert run(python, "-c", found, cwd=tmp_path).split() == ["None", "None"]
    run(python, "-c", EXTRAS["cli"][1], cwd=tmp_path)
    assert "login" in run(python, "-m", "apikeys.cli", "--help", cwd=tmp_path)


@pytest.mark.parametrize(
    ("version", "is_taken"),
    [("5.2.14", False), ("5.2.15", True), ("6.0", False), ("6.0.5", False), ("6.0.6", True),
     ("6.1", True)],
)  # fmt: skip
def test_no_django_with_a_fault_in_its_cache_middleware_is_taken(version, is_taken):
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (django,) = (r for r in map(Requirement, declared) if r.name == "django")

    assert (version in django.specifier) is is_taken
