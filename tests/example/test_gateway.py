"""`manage.py demo --gateway` from outside: the curls that it prints do what it says."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.documents import ROOT
from tests.services import require

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(start):
    with start(words=["--gateway"]) as served:
        yield served


def status(command):
    require("curl", shutil.which("curl") is not None, "Install it: apt-get install curl.")
    words = shlex.split(command)
    assert words[0] == "curl"
    run = subprocess.run(
        [*words, "--silent", "--output", os.devnull, "--write-out", "%{http_code}"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    return int(run.stdout)


def test_the_curls_show_what_they_say(served):
    curls = served.credentials["gateway"]["curls"]
    assert [status(curl["command"]) for curl in curls] == [curl["status"] for curl in curls]
    assert [curl["status"] for curl in curls] == [200, 200, 403, 403, 401]


def test_the_black_box_itself_answers_everybody(served):
    for subscriber in ("1001", "1002"):
        url = f"{served.credentials['gateway']['upstream']}/subscribers/{subscriber}/offers"
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.status == 200


def test_the_keys_of_an_earlier_start_end(start):
    with start(words=["--gateway"]) as served:
        own = served.credentials["gateway"]["curls"][0]["command"]
        assert status(own) == 200
        assert served.manage("demo", "--no-serve").returncode == 0
        assert status(own) == 401


def test_it_is_printed_for_people_and_nothing_stays_behind(migrated_demo):
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--gateway", "--port", "0"],
        cwd=ROOT,
        env=migrated_demo._environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if line.startswith("Open "):
            break
    expected = None
    statuses = []
    for line in lines:
        if line[:3] in ("200", "403", "401"):
            expected = int(line[:3])
        elif line.startswith("curl -i "):
            statuses.append(status(line))
            assert statuses[-1] == expected, line
    assert statuses == [200, 200, 403, 403, 401]
    (blackbox,) = (line.split()[1] for line in lines if line.startswith("curl http"))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(blackbox, timeout=5)
