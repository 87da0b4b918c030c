"""A site with a project model of its own, in a process of its own: settings are read once."""

import os
import subprocess
import sys

import pytest

from tests.documents import ROOT

pytestmark = pytest.mark.long


def run(*words, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.swapped.settings", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_keys_of_the_sites_own_projects():
    out = run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("--ds=tests.swapped.settings", "tests/swapped/check_swapped.py"),
    )
    assert " passed" in out
    assert "skipped" not in out


def test_it_migrates_forth_and_back_on_a_fresh_database(tmp_path):
    database = {"SWAPPED_DATABASE": str(tmp_path / "db.sqlite3")}
    run("-m", "django", "migrate", "-v0", **database)
    run("-m", "django", "migrate", "apikeys", "zero", "-v0", **database)
    run("-m", "django", "migrate", "-v0", **database)
