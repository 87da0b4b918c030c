import subprocess
import sys

import pytest

from tests.documents import ROOT

pytestmark = pytest.mark.process


def test_admin_works_with_custom_user_and_project_models():
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.admin.swapped"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.stdout.strip().endswith("used"), ran.stderr[-2000:]
