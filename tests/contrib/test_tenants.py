"""A site with django-tenants, in a process of its own: its engine and apps are chosen once."""

import os
import socket
import subprocess
import sys

import pytest

from tests.documents import ROOT
from tests.services import require

pytestmark = [pytest.mark.slow, pytest.mark.process]


def test_two_tenants_with_equal_primary_keys_stay_separate():
    host = os.environ.get("POSTGRESQL_HOST", "127.0.0.1")
    with socket.socket() as probe:
        answers = probe.connect_ex((host, 5432)) == 0
    require("PostgreSQL", answers, "Start it on port 5432, or name its host in POSTGRESQL_HOST.")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"),
            *("--migrations", "--create-db", "-W", "default"),
            *("--ds=tests.tenants.settings", "tests/tenants/check_tenants.py"),
        ],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.tenants.settings"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
