"""Run the tests of django-oauth-toolkit with this app's classes and URLs.

They come from its source archive, unchanged. ``dot/differences.txt`` lists the tests that fail,
under the reason. A test that starts to fail, or to pass, fails this one.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from xml.etree import ElementTree

import pytest

from tests.documents import ROOT
from tests.packaging.test_wheel import UV, run
from tests.services import require

pytestmark = pytest.mark.long

HERE = ROOT / "tests/oauth/dot"
LIST = HERE / "differences.txt"


@pytest.fixture(scope="module")
def source(request):
    """The folder with the tests of the installed version."""
    require("uv", UV is not None, "Run the tests by the command in the README.")
    name = f"django-oauth-toolkit=={version('django-oauth-toolkit')}"
    folder = request.config.cache.mkdir(name)
    if not list(folder.glob("*.tar.gz")):
        words = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder, name]
        run(UV, "tool", "run", "--quiet", "pip", *words, cwd=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def failed(source, tmp_path_factory):
    """Run the tests. Return the IDs of those that failed."""
    folder = tmp_path_factory.mktemp("dot")
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    (found,) = folder.glob("django_oauth_toolkit-*/tests")
    tests = folder / "run" / "tests"
    shutil.copytree(HERE / "support", tests)
    for path in found.glob("test_*.py"):
        shutil.copy(path, tests)
    (folder / "run/pytest.ini").write_text("[pytest]\n")
    report = folder / "report.xml"
    words = [
        f"--junitxml={report}",
        "--ds=tests.settings",
        "-q",
        "-p",
        "no:randomly",
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder / "run"), str(ROOT)])}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "tests"],
        cwd=folder / "run",
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert report.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert len(cases) > 1000, done.stdout[-3000:]
    return {
        f"{case.get('classname').removeprefix('tests.')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }


def listed():
    """Return the IDs in the list. Fail for one without a reason, or named twice."""
    names, reason = [], None
    for line in LIST.read_text().splitlines():
        if line.startswith("# "):
            reason = line
        elif line:
            assert reason, line
            names.append(line)
    assert len(set(names)) == len(names)
    return set(names)


def test_the_tests_that_fail_are_those_of_the_list(failed):
    assert {"fail": sorted(failed - listed()), "pass": sorted(listed() - failed)} == {
        "fail": [],
        "pass": [],
    }
