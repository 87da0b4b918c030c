"""What is released: the contents of the wheel."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.documents import ROOT
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
    core = [re.match(r"[\w-]+", r)[0] for r in required if "extra ==" not in r]
    assert sorted(core) == ["argon2-cffi", "django", "djangorestframework"]
    assert any("django-oauth-toolkit" in r and "extra == 'oauth'" in r for r in required)
