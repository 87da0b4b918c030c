"""A site with django-tenants, in a process of its own: its engine and apps are chosen once."""

import os
import subprocess
import sys

import pytest
from django.db import connection

from tests.documents import ROOT
from tests.services import require_postgresql

pytestmark = [pytest.mark.slow, pytest.mark.process]
if connection.vendor != "postgresql":  # its own database is there: once is enough
    pytestmark.append(pytest.mark.long)


def test_two_tenants_with_equal_primary_keys_stay_separate():
    require_postgresql()
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
