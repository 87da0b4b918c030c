"""A site that names the user of a project, in a process of its own: settings are read once."""

import os
import subprocess
import sys

import pytest

from tests.documents import ROOT

pytestmark = pytest.mark.slow


def test_keys_act_as_the_user_of_their_project():
    module = "tests.project_user"
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *(f"--ds={module}.settings", "tests/project_user/check_project_user.py"),
        ],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": f"{module}.settings"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
