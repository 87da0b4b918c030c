"""``manage.py apikeys`` as a process of its own: exit codes, pipes and terminals."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from tests.documents import ROOT
from tests.management.test_apikeys import FACTS, KEY, PAT, TOKEN
from tests.tiers import long, sampled

pytestmark = pytest.mark.slow


class TestExitCodes:
    def test_a_key_is_minted_verified_and_revoked(self, site):
        done = site.run("apikeys", *PAT, "--json")
        assert (done.returncode, done.stderr) == (0, b"")
        minted = json.loads(done.stdout)
        token = minted["token"].encode()

        done = site.run("apikeys", "verify", "--json", stdin=token + b"\n")
        assert (done.returncode, done.stderr) == (0, b"")
        assert list(json.loads(done.stdout)) == FACTS

        done = site.run("apikeys", "revoke", minted["id"], "--reason", "x", "--json")
        assert (done.returncode, done.stderr) == (0, b"")

        done = site.run("apikeys", "verify", stdin=token)
        assert (done.returncode, done.stdout) == (1, b"revoked_key\n")
        assert b"Traceback" not in done.stderr
        assert token.rpartition(b"_")[2] not in done.stdout + done.stderr
        done = site.run("apikeys", "verify", "--json", stdin=token)
        assert done.returncode == 1
        assert json.loads(done.stdout)["code"] == "revoked_key"

    def test_the_token_is_printed_once_on_standard_output(self, site):
        done = site.run("apikeys", *KEY)
        assert (done.returncode, done.stderr) == (0, b"")
        (token,) = TOKEN.findall(done.stdout.decode())
        listing = site.run("apikeys", "list").stdout.decode()
        assert token.split("_")[2] in listing
        assert not TOKEN.search(listing)

    def test_an_error_prints_one_line_and_exits_with_1(self, site):
        done = site.run("apikeys", "show", "0" * 16)
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.decode().splitlines() == [
            "CommandError: No key has the ID 0000000000000000."
        ]

    @pytest.mark.parametrize(
        "words",
        [
            ["list", "--user", b"ad\xff"],
            long(["list", "--project", b"\xff"]),
            long(["revoke", "{id}", "--reason", "x", "--by", b"\xff"]),
        ],
    )
    def test_bytes_that_are_not_text_match_no_user_and_no_project(self, site, words):
        id_ = site.json(*PAT)["id"]
        done = site.run("apikeys", *(id_ if word == "{id}" else word for word in words))
        assert (done.returncode, done.stdout) == (1, b"")
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith("CommandError: Unknown ")

    @pytest.mark.parametrize(
        ("garbage", "locale"),
        [
            (b"\xff\xfe", {"LC_ALL": "C", "PYTHONUTF8": "0"}),
            long((b"\xff\xfe", {"LC_ALL": "C.UTF-8"})),
            long((b"a\x00" * 100_000, {})),
        ],
    )
    def test_garbage_on_standard_input_is_an_invalid_credential(self, site, garbage, locale):
        done = site.run("apikeys", "verify", stdin=garbage, **locale)
        assert (done.returncode, done.stdout) == (1, b"invalid_token\n")
        assert b"Traceback" not in done.stderr

    @pytest.mark.parametrize(
        "words",
        sampled([["verify", "{}"], ["{}"], ["list", "--kind", "{}"], ["verify", "--token={}"]]),
    )
    def test_a_credential_given_as_an_argument_is_not_repeated(self, site, words):
        for secret in ("acme_pat_" + "0" * 16 + "_" + "S" * 49, "S" * 30):
            done = site.run("apikeys", *(word.format(secret) for word in words))
            assert done.returncode in (1, 2)
            assert done.stderr
            assert b"SSSS" not in done.stdout + done.stderr
            assert b"Traceback" not in done.stderr


def redirected(site, redirection, *words):
    """The command line of a shell, with that at its end."""
    line = f'set -o pipefail; "$@" {redirection}'
    command = ["bash", "-c", line, "bash", *site.command, "apikeys", *words]
    return subprocess.run(command, cwd=ROOT, env=site.env, capture_output=True, text=True)


class TestUnwritableOutput:
    @pytest.mark.parametrize(
        ("redirection", "why"),
        [(">/dev/full", "No space left on device"), (">&-", "It is closed")],
    )
    @pytest.mark.parametrize("words", [["list"], long(["show", "0" * 16, "--json"])])
    def test_output_that_cannot_be_written_is_an_error_in_one_line(
        self, site, redirection, why, words
    ):
        done = redirected(site, redirection, *words)
        assert done.returncode == 1
        assert done.stderr == f"CommandError: Standard output cannot be written: {why}.\n"

    def test_a_closed_pipe_ends_the_command_quietly(self, site):
        done = redirected(site, "| true", "list")
        assert (done.returncode, done.stderr) == (141, "")

    @pytest.mark.parametrize(
        ("redirection", "words"),
        [
            (">/dev/full", PAT),
            long((">&-", PAT)),
            long((">/dev/full", [*KEY, "--json"])),
            ("| true", KEY),
        ],
    )
    def test_a_new_key_that_cannot_be_printed_is_revoked_and_named(self, site, redirection, words):
        done = redirected(site, redirection, *words)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "was created and revoked, because it could not be printed" in line
        key = site.json("show", re.search(r"The key (\w{16}) ", line)[1])
        assert key["state"] == "revoked"
        assert key["revoked_reason"] == "It could not be printed."

    def test_a_successor_that_cannot_be_printed_is_named_and_the_old_key_still_works(self, site):
        old = site.json(*PAT)
        done = redirected(site, ">/dev/full", "rotate", old["id"])
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        new = site.json("show", re.search(r"The key (\w{16}) was created", line)[1])
        assert new["replaces"] == old["id"]
        assert f"{old['id']}, which it replaces, expires at " in line
        assert site.json("show", old["id"])["state"] == "live"

    def test_a_reader_of_only_the_first_line_gets_the_token(self, site):
        networks = [word for n in range(100) for word in ("--allow-network", f"2001:db8::{n:x}")]
        done = redirected(site, "| head -1", *PAT, *networks)
        assert (done.returncode, done.stderr) == (0, "")
        assert TOKEN.fullmatch(done.stdout.strip())
        assert site.json("show", done.stdout.split("_")[2])["state"] == "live"


def in_terminal(site, *words, answers=(), columns=80, **env):
    """What a person sees of ``manage.py apikeys`` in a terminal, and the exit code.

    ``answers``: pairs of a prompt to wait for and the line to type then.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        # As a shell does: what runs in the background leaves it ignored.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        time.sleep(0.05)  # for the size below
        os.execve(sys.executable, [*site.command, "apikeys", *words], site.env | env)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    answers, seen, waiting = list(answers), "", ""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not data:
            break
        seen += data.decode()
        waiting += data.decode()
        if answers and answers[0][0] in waiting:
            os.write(terminal, answers.pop(0)[1].encode() + b"\n")
            waiting = ""
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert answers == [], seen
    return seen.replace("\r\n", "\n"), code


def visible(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


class TestInATerminal:
    def test_mint_asks_for_missing_options(self, site):
        seen, code = in_terminal(
            site,
            "mint",
            answers=[
                ("Username", "adda"),
                ("Did you mean 'ada'?", "ada"),
                ("Name: ", "laptop"),
                ("separated by spaces: ", "9"),
                ("Unknown scope: 9.", "1 reports:read"),
            ],
        )
        assert code == 0
        assert "See payments" in seen
        (token,) = TOKEN.findall(seen)
        done = site.run("apikeys", "verify", "--json", stdin=token.encode())
        facts = json.loads(done.stdout)
        assert (facts["user"], facts["name"]) == ("ada", "laptop")
        assert facts["scopes"] == ["payments:read", "reports:read"]

    def test_mint_asks_for_a_project_if_no_user_is_given(self, site):
        seen, code = in_terminal(
            site,
            "mint",
            answers=[
                ("Username", ""),
                ("Project slug: ", "engine"),
                ("Name: ", "server"),
                ("separated by spaces: ", "payments:write"),
            ],
        )
        assert code == 0
        assert "_key_" in TOKEN.findall(seen)[0]

    def test_ctrl_c_at_a_question_changes_nothing(self, site):
        before = site.json("list")
        seen, code = in_terminal(site, "mint", answers=[("Username", "\x03")])
        assert code == 1
        assert "Cancelled. Nothing was changed." in seen
        assert "Traceback" not in seen
        assert site.json("list") == before

    def test_a_typed_credential_is_not_echoed(self, site):
        token = site.json(*PAT)["token"]
        seen, code = in_terminal(site, "verify", answers=[("Credential: ", token)])
        assert code == 0
        assert token.rpartition("_")[2] not in seen
        assert token.split("_")[2] in seen

    def test_revoke_shows_the_key_before_it_asks_for_the_reason(self, site):
        key = site.json(*PAT)
        seen, code = in_terminal(site, "revoke", key["id"], answers=[("Reason: ", "Lost.")])
        assert code == 0
        assert seen.index("Key to revoke") < seen.index("Reason: ") < seen.index("Revoked ci")
        assert site.json("show", key["id"])["revoked_reason"] == "Lost."

    @pytest.mark.parametrize("columns", [40, long(80), 120])
    def test_tables_fit_the_width_of_the_terminal(self, site, columns):
        key = site.json(
            "mint", "--user", "ada", "--name", "A rather long name of a laptop, with 车 and é",
            "--project", "engine", "--scope", "payments:write", "--scope", "reports:read",
        )  # fmt: skip
        seen, code = in_terminal(site, "list", columns=columns)
        assert code == 0
        lines = visible(seen).splitlines()
        header = visible(seen).partition("─")[0]
        if columns >= 80:
            assert max(map(len, lines)) <= columns
        assert key["id"] in visible(seen)
        assert "STATE" in header
        if columns >= 120:
            assert "SCOPES" in header

    def test_no_color_turns_colours_off(self, site):
        site.json(*PAT)
        assert "\x1b[32m" in in_terminal(site, "list")[0]
        assert "\x1b" not in in_terminal(site, "list", NO_COLOR="1")[0]
        assert "\x1b" not in in_terminal(site, "list", "--no-color")[0]
