"""Varied sites: each step of an integration works in each, over real HTTP."""

import os
import subprocess
import sys

import pytest

from tests.documents import ROOT
from tests.packaging.test_wheel import UV, run
from tests.services import require, require_postgresql

pytestmark = pytest.mark.process

#: Walked at every run. The others are in the long tier.
SHORT = ["own-project", "sub-path"]
LONG = [
    "base", "tokyo",
    "active-property", "uuid-user", "email-login", "inherited-user", "atomic", "login-required",
    "cache", "base-template", "uvicorn",
]  # fmt: skip
#: Sites with packages that the suite does not have, in an environment of their own.
FURTHER = {
    "rest": ["django-guardian", "django-filter"],
    "tools": [
        "django-allauth", "django-auditlog", "django-axes", "django-debug-toolbar",
        "django-prometheus", "django-simple-history", "django-structlog", "sentry-sdk",
    ],
    "ninja": ["django-ninja", "strawberry-graphql", "channels", "uvicorn", "websockets"],
    "organizations": ["django-organizations"],
    "tenants": ["django-tenants", "psycopg[binary]"],
    "wagtail": ["wagtail"],
}  # fmt: skip
CORE = ["django>=5.2.15,<5.3", "djangorestframework", "argon2-cffi", "httpx"]
STEPS = [
    "migrate", "check", "create by command", "views with each kind of credential", "JSON API",
    "pages with a session", "admin", "rotate, revoke and notify", "import",
]  # fmt: skip


def walk(site, folder, python=sys.executable, settings="tests.sites.settings"):
    done = subprocess.run(
        [python, "-W", "ignore", "-m", "tests.sites.walk"],
        cwd=ROOT,
        env=os.environ
        | {"SITE": site, "SITE_FOLDER": str(folder), "DJANGO_SETTINGS_MODULE": settings},
        capture_output=True,
        text=True,
    )
    steps = done.stdout.splitlines()
    assert done.returncode == 0, f"{steps[-1:]}\n{done.stderr[-3000:]}"
    assert [step for step in steps if step in STEPS] == STEPS
    assert steps[-1] == "done"
    return steps


@pytest.mark.parametrize(
    "site", [*SHORT, *(pytest.param(site, marks=pytest.mark.long) for site in LONG)]
)
def test_every_step_works(site, tmp_path):
    walk(site, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("site", FURTHER)
def test_every_step_works_beside_other_packages(site, tmp_path, request):
    require("uv", UV is not None, "Run the tests by the command in the README.")
    if site == "tenants":
        require_postgresql()
    folder = request.config.cache.mkdir(f"site-{site}")
    python, written = folder / "bin" / "python", folder / "requirements.txt"
    needed = [*CORE, *FURTHER[site]]
    if not written.exists() or written.read_text() != "\n".join(needed):
        run(UV, "venv", "--quiet", "--clear", "--python", sys.executable, folder, cwd=ROOT)
        run(UV, "pip", "install", "--quiet", "--python", python, *needed, cwd=ROOT)
        written.write_text("\n".join(needed))
    steps = walk(site, tmp_path, str(python), f"tests.sites.{site}.settings")
    assert "views of its own" in steps
