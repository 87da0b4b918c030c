"""Varied sites: each step of an integration works in each, over real HTTP."""

import os
import subprocess
import sys

import pytest

from tests.documents import ROOT

pytestmark = pytest.mark.process

#: Walked at every run. The others are in the long tier.
SHORT = ["base", "own-project", "tokyo", "sub-path"]
LONG = [
    "active-property", "uuid-user", "email-login", "inherited-user", "atomic", "login-required",
    "cache", "base-template",
]  # fmt: skip
STEPS = [
    "migrate", "check", "create by command", "views with each kind of credential", "JSON API",
    "pages with a session", "admin", "rotate, revoke and notify", "import",
]  # fmt: skip


@pytest.mark.parametrize(
    "site", [*SHORT, *(pytest.param(site, marks=pytest.mark.long) for site in LONG)]
)
def test_every_step_works(site, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.sites.walk"],
        cwd=ROOT,
        env=os.environ
        | {
            "SITE": site,
            "SITE_FOLDER": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "tests.sites.settings",
        },
        capture_output=True,
        text=True,
    )
    steps = done.stdout.splitlines()
    assert done.returncode == 0, f"{steps[-1:]}\n{done.stderr[-3000:]}"
    assert [step for step in steps if step in STEPS] == STEPS
    assert steps[-1] == "done"
