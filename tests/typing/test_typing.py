"""A site under mypy's strictest, against the package as it is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT

pytestmark = pytest.mark.packaging

CONFIG = """
[mypy]
strict = True
warn_unreachable = True
plugins = mypy_django_plugin.main
[mypy.plugins.django-stubs]
django_settings_module = example_project.settings
"""


def test_a_sites_code_is_right_where_it_is_and_wrong_where_it_is_not(tmp_path):
    shutil.copy(Path(__file__).with_name("site.py"), tmp_path / "acme.py")
    (tmp_path / "mypy.ini").write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "acme.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stdout + done.stderr
