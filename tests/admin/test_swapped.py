import subprocess
import sys

from tests.documents import ROOT


def test_a_site_with_users_and_projects_of_its_own():
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.admin.swapped"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.stdout.strip().endswith("used"), ran.stderr[-2000:]
