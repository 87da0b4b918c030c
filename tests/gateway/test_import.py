"""The progress of an import on a real terminal."""

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl

import pytest
from django.db import connection

from apikeys.gateway.models import ResourceBinding
from tests.documents import ROOT
from tests.factories import ProjectFactory

LINES = 10_000
MANAGE = (
    "import sys{without}; from django.core.management import execute_from_command_line;"
    "execute_from_command_line(sys.argv)"
)

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def file(tmp_path):
    ProjectFactory(slug="engine")
    path = tmp_path / "bindings.csv"
    rows = "".join(f"engine,subscriber_id,{number}\n" for number in range(LINES))
    path.write_text(f"project,kind,identifier\n{rows}")
    return path


def on_a_terminal(*words, without=""):
    """Run a command on a terminal of 100 columns; return its output and exit code."""
    controller, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {
        "DJANGO_SETTINGS_MODULE": "tests.server_settings",
        "SERVER_DATABASE": str(connection.settings_dict["NAME"]),
        "TERM": "xterm-256color",
    }
    command = [sys.executable, "-c", MANAGE.format(without=without), *words]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        written = b""
        while True:
            try:
                part = os.read(controller, 65536)
            except OSError:  # the process has closed the terminal
                break
            if not part:
                break
            written += part
        os.close(controller)
    return written.decode(), process.returncode


def counts(written):
    return [int(told.replace(",", "")) for told in re.findall(r"([\d,]+) lines", written)]


def test_a_progress_bar_shows_the_lines_read(file):
    written, code = on_a_terminal("apikeys_bindings", "import", str(file))

    assert code == 0, written
    *told, _summary = counts(written)
    assert told == sorted(told)
    assert told[-1] == LINES
    assert any(0 < number < LINES for number in told)
    assert "━" in written  # the bar
    assert "0:00:00" in written  # the remaining time
    assert "\x1b[?25h" in written.split("\x1b[?25l")[-1]  # the cursor is visible again
    assert written.rstrip().endswith("10,000 lines: 10,000 created, 0 already there, 0 wrong.")
    assert ResourceBinding.objects.count() == LINES


def test_without_rich_progress_is_one_line(file):
    written, code = on_a_terminal(
        "apikeys_bindings", "import", str(file), "--dry-run", without="; sys.modules['rich'] = None"
    )

    assert code == 0, written
    shares = [int(share) for share in re.findall(r"\r[\d,]+ lines (\d+)%", written)]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert len(shares) == LINES // 2000
    assert "━" not in written
    assert ResourceBinding.objects.count() == 0


def test_invalid_lines_are_reported_above_the_bar(file):
    with file.open("a") as lines:
        lines.write("nobody,subscriber_id,1\n")
    written, code = on_a_terminal("apikeys_bindings", "import", str(file))

    assert code == 1
    assert "Line 10002: Unknown project 'nobody'" in written
    assert "10,001 lines: 10,000 created, 0 already there, 1 wrong." in written


def test_off_a_terminal_there_is_no_bar(file):
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.server_settings",
        "SERVER_DATABASE": str(connection.settings_dict["NAME"]),
    }
    done = subprocess.run(
        [sys.executable, "-c", MANAGE.format(without=""), "apikeys_bindings", "import", str(file)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout == "10,000 lines: 10,000 created, 0 already there, 0 wrong.\n"
