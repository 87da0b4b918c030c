"""What is released: the wheel's contents, and a new site that does as the README says."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.documents import ROOT, blocks
from tests.services import require

pytestmark = pytest.mark.packaging

UV = os.environ.get("UV") or shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.defpath}")


def run(*command, cwd, **kwargs):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "VIRTUAL_ENV"))}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, **kwargs
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    require("uv", UV is not None, "Run the tests by the command in the README.")
    out = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--quiet", "--out-dir", out, cwd=ROOT)
    return next(out.glob("*.whl"))


def test_the_wheel_has_the_whole_app_and_nothing_else(wheel):
    # git knows what belongs to the source; a stray file in a checkout does not.
    tracked = run("git", "ls-files", "apikeys", cwd=ROOT).split()
    packed = [n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n]

    assert sorted(packed) == sorted(tracked)
    assert "apikeys/py.typed" in packed


def test_its_dependencies_are_the_core_and_extras(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (n for n in archive.namelist() if n.endswith("METADATA"))
    required = [
        line.removeprefix("Requires-Dist: ")
        for line in archive.read(name).decode().splitlines()
        if line.startswith("Requires-Dist")
    ]
    core = [r.split(">")[0] for r in required if "extra ==" not in r]
    assert sorted(core) == ["argon2-cffi", "django", "djangorestframework"]
    assert any("django-oauth-toolkit" in r and "extra == 'oauth'" in r for r in required)


class Site:
    """A new project in a new environment, with the wheel and nothing of this checkout."""

    def __init__(self, path, wheel, extra=""):
        self.path = path
        self.python = path / "venv" / "bin" / "python"
        run(UV, "venv", "--quiet", "--python", sys.executable, path / "venv", cwd=path)
        run(UV, "pip", "install", "-q", "-p", self.python, f"{wheel}{extra}", cwd=path)
        run(self.python, "-m", "django", "startproject", "shop", path, cwd=path)

    def append(self, name, code):
        with (self.path / "shop" / name).open("a") as file:
            file.write("\n" + code)

    def manage(self, *arguments, **kwargs):
        return run(self.python, "manage.py", *arguments, cwd=self.path, **kwargs)

    def get(self, url, token):
        code = (
            "from django.test import Client; import json;"
            f"r = Client().get({url!r}, headers={{'Authorization': 'Bearer {token}',"
            " 'Host': 'localhost'});"
            "print(json.dumps([r.status_code, r.json()]))"
        )
        return json.loads(self.manage("shell", "--no-imports", "--command", code))

    def page(self, url):
        """The status of a page for the one user that there is."""
        code = (
            "from django.contrib.auth import get_user_model; from django.test import Client;"
            "client = Client(); client.force_login(get_user_model().objects.get());"
            f"print(client.get({url!r}, headers={{'Host': 'localhost'}}).status_code)"
        )
        return int(self.manage("shell", "--no-imports", "--command", code))


@pytest.fixture(params=["", "[oauth]"], ids=["core", "oauth"])
def site(request, tmp_path, wheel):
    site = Site(tmp_path, wheel, request.param)
    settings, views, urls, oauth, pages = blocks("README.md", "python")
    site.append("settings.py", settings)
    site.append("views.py", views)
    site.append("urls.py", urls + pages)
    if request.param:
        site.append("settings.py", oauth)
    return site


def test_a_new_site_that_does_as_the_readme_says_works(site):
    # The sixth line is the one that makes django.test's host known; a browser sends its own.
    site.append("settings.py", "ALLOWED_HOSTS = ['localhost']\n")
    assert "no issues" in site.manage("check", "--fail-level", "WARNING")
    site.manage("migrate", "--verbosity", "0")
    assert "No changes" in site.manage("makemigrations", "--check")
    site.manage("createsuperuser", "--noinput", "--username", "ada", "--email", "a@example.com")
    _, mint, _curl = blocks("README.md", "console")[3].splitlines()

    minted = json.loads(site.manage(*mint.split()[2:], "--json"))

    assert site.get("/reports/", minted["token"]) == [200, {"projects": []}]
    status, facts = site.get("/api/token/", minted["token"])
    assert (status, facts["user"], facts["scopes"]) == (200, "ada", ["reports:read"])
    assert site.get("/reports/", minted["token"][:-1])[0] == 401
    site.manage("apikeys", "revoke", minted["id"], "--reason", "test")
    status, body = site.get("/reports/", minted["token"])
    assert (status, body["code"]) == (401, "revoked_key")
    assert site.page("/settings/keys/new/") == 200
