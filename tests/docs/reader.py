"""Somebody who does as a page says: writes its files, types its commands, and compares.

What a page shows a command printing is what it prints. Three things differ from run to run, and
may differ from what is shown: moments (2030-01-01 12:00 UTC), ids and secrets. An id or a secret
that a page shows stands for the one that was printed in its place, in later commands too. `…` is
any text within a line, and a line of its own any lines.

`UPDATE_DOCS=1` writes what was printed into the page instead of comparing it.
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from packaging.requirements import Requirement

from tests.documents import ROOT
from tests.servers import answers, exposed, free_port, wait_until

UPDATE = bool(os.environ.get("UPDATE_DOCS"))
TIMEOUT = 120

# What goes on running, in a terminal of its own, and where it listens.
_SERVES = re.compile(
    r"(?:\w+=\S+ )*(?:python manage.py runserver|granian |uvicorn |python blackbox.py)"
)
_CALLS = re.compile(r"\bcurl (?=-|http)|\bcall\b|^python (?!manage)\w+\.py")
_PORT = re.compile(r"(?<![\d.])(8000|8080|9000|6379)\b")

_KEY = re.compile(r"\b([a-z][a-z0-9]{1,15}_(?:pat|key))_([0-9a-z]{16})_([0-9A-Za-z]+…?)")
_ID = re.compile(r"\b[0-9a-z]{16}\b")
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?( UTC|Z|\+00:00)?|\b\d\d/\w{3}/\d{4} [\d:]{8}"
)
_FILE = re.compile(r"(?:#|//|/\*|\{#|<!--) ?([\w./-]+\.\w+)(?: ?(?:\*/|#\}|-->))?")


class Block(NamedTuple):
    document: str
    language: str
    text: str
    line: int
    heading: str

    @property
    def file(self) -> str | None:
        """The file that it names in a comment on its first line."""
        named = _FILE.fullmatch(self.text.partition("\n")[0])
        return named and named[1]

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"


def parse(document: str) -> Iterator[Block | str]:
    """The headings and the code blocks of a document, in order."""
    heading = ""
    tokens = MarkdownIt().parse((ROOT / document).read_text("utf-8"))
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and following is not None:
            heading = following.content
            yield heading
        elif token.type == "fence" and token.map:
            yield Block(document, token.info, token.content, token.map[0] + 1, heading)


class Command(NamedTuple):
    line: str
    output: str


def commands(text: str) -> list[Command]:
    """Of a block in which commands begin with `$ `, or which has nothing but commands."""
    if not re.search(r"^\$ ", text, re.MULTILINE):
        text = re.sub(r"(?<!\\\n)^", "$ ", text.rstrip("\n"), flags=re.MULTILINE)
    found = re.findall(r"^\$ ((?:.*\\\n)*.*)\n?((?:(?!\$ ).*\n?)*)", text, re.MULTILINE)
    return [Command(line, output.rstrip()) for line, output in found]


class Reader:
    def __init__(self, directory: Path, binaries: Path, **environment: str) -> None:
        self.directory = directory
        self.known: dict[str, str] = {}  # what is shown: what it stands for
        self.skip: tuple[str, ...] = ()
        self.ports = {port: str(free_port()) for port in ("8000", "8080", "9000", "6379")}
        self.meant: dict[str, str] = {}  # what else is said in other words here
        self.instead: dict[str, Callable[[], None]] = {}  # commands that are done otherwise here
        self._serving: dict[str, subprocess.Popen[bytes] | None] = {}
        self._environment = {
            "PATH": f"{binaries}:/usr/local/bin:/usr/bin:/bin:/usr/sbin",
            "HOME": str(directory),
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "100",
            "PYTHONUNBUFFERED": "1",  # both outputs in the order in which a terminal has them
            "PYTHONDONTWRITEBYTECODE": "1",  # a file may change twice within a second
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            **environment,
        }
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=directory,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def close(self) -> None:
        self.stop_servers()
        _end(self._shell, signal.SIGKILL)
        self._shell.communicate()

    def read(
        self,
        document: str,
        meanwhile: dict[str, Callable[[], None]] | None = None,
        until: str | None = None,
    ) -> None:
        """Do as it says. ``meanwhile`` has what its prose says, by heading."""
        steps = dict(meanwhile or {})
        updated: list[tuple[Block, str]] = []
        doing = None
        for part in [*parse(document), ""]:
            if isinstance(part, str):
                if doing:
                    doing()
                if part and part == until:
                    return
                doing = steps.pop(part, None)
            elif part.file:
                self.write(part)
            elif part.language == "console":
                updated.append((part, self._console(part)))
            else:
                raise AssertionError(f"{part.place}: nobody knows what to do with this.")
        assert not steps, f"{document} has no heading {', '.join(steps)}"
        if UPDATE:
            _update(document, updated)

    def write(self, block: Block) -> None:
        """`settings.py` and `urls.py` are added to; of everything else it is the whole."""
        assert block.file
        path = self.directory / block.file.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        adds = path.name in {"settings.py", "urls.py"} and path.exists()
        path.write_text((path.read_text() + "\n" if adds else "") + self.actual(block.text))
        self.stop_servers()  # the next request gets one that has read it

    def _console(self, block: Block) -> str:
        new = ""
        for line, shown in commands(block.text):
            if UPDATE and re.fullmatch(r"\w+=", line):
                line += next(key for key in reversed(self.known) if _KEY.fullmatch(key))
            prompt = "$ " if "\n$ " in f"\n{block.text}" else ""
            new += f"{prompt}{line}\n"
            if line.startswith("pip install") and self.skip:
                installed(line)
            if line.startswith(self.skip) and self.skip:
                new += shown and f"{shown}\n"
                continue
            if line in self.instead:
                self.instead[line]()
                continue
            if _SERVES.match(line):
                self.serve(line)
                continue
            printed, status = self.type(line)
            if not prompt:
                assert status == 0, f"{block.place}\n{line}\n{printed}"
                continue
            if UPDATE and aligned(shown, printed) is None:
                shown = self._shown(printed)
            lines = aligned(shown, printed)
            assert lines is not None, (
                f"{block.place}\n$ {line}\n--- shown\n{shown}\n--- printed\n{printed}"
            )
            self._learn(lines)
            new += shown and f"{shown}\n"
        return new

    def serve(self, line: str) -> None:
        """Have this running whenever a command asks for it."""
        self._serving[line] = None

    def forget(self, line: str) -> None:
        """Serve this no longer."""
        self.stop_servers()
        del self._serving[line]

    def type(self, line: str) -> tuple[str, int]:
        """What a command prints, on both outputs, and its exit status."""
        if _CALLS.search(line):
            self.start()
        line = re.sub(r"\bcurl (?=-|http)", "curl --silent --show-error ", self.actual(line))
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{line}\nprintf '\\n--done-- %s\\n' $?\n".encode())
        self._shell.stdin.flush()
        got, ends = "", time.monotonic() + TIMEOUT
        while not (done := re.search(r"\n--done-- (\d+)\n$", got)):
            ready, _, _ = select.select([self._shell.stdout], [], [], ends - time.monotonic())
            more = os.read(self._shell.stdout.fileno(), 65536) if ready else b""
            assert more, f"The shell ended, or takes too long, after\n{line}\n{got}"
            got += more.decode()
        printed = got[: done.start()].rstrip()
        for said, meant in [*self.ports.items(), *self.meant.items()]:
            printed = printed.replace(meant, said)
        return printed, int(done[1])

    def actual(self, text: str) -> str:
        """``text`` with the ids, secrets, ports and places of this run."""
        text = _PORT.sub(lambda port: self.ports[port[1]], text)
        for shown, real in sorted(self.known.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(shown, real)
        for said, meant in self.meant.items():
            text = text.replace(said, meant)
        return text

    def _shown(self, printed: str) -> str:
        """What is printed, with the page's ids, and secrets cut off."""
        text = _KEY.sub(lambda key: f"{key[1]}_{key[2]}_{key[3][:6]}…", printed)
        for shown, real in self.known.items():
            if _ID.fullmatch(shown):
                text = text.replace(real, shown)
        return text

    def _learn(self, lines: list[tuple[str, str]]) -> None:
        """Which ids and secrets of the page stand for which of this run."""
        for shown, printed in lines:
            for mine, theirs in zip(_KEY.finditer(shown), _KEY.finditer(printed), strict=False):
                self.known[mine[0]] = theirs[0]
                self.known[mine[2]] = theirs[2]
            for mine, theirs in zip(_ID.finditer(shown), _ID.finditer(printed), strict=False):
                known = self.known.setdefault(mine[0], theirs[0])
                assert known == theirs[0], f"{mine[0]} is not one id only"

    def start(self) -> None:
        """Start what is to be running, and is not."""
        for line in [line for line, process in self._serving.items() if process is None]:
            (port,) = _PORT.findall(line) or ["8000"]
            serve = self.actual(line)
            if "runserver" in line:  # the files change between requests, not during them
                serve = f"python manage.py runserver --noreload {self.ports[port]}"
            if not self.skip:
                serve = f". venv/bin/activate; {serve}"  # a terminal of its own
            with (self.directory / "served.log").open("ab") as log:
                process = subprocess.Popen(
                    ["bash", "-c", f"exec env {serve}" if self.skip else serve],
                    cwd=self.directory,
                    env=self._environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._serving[line] = process
            wait_until(lambda: self._has_started(process, int(self.ports[port])), TIMEOUT)  # noqa: B023

    def _has_started(self, process: "subprocess.Popen[bytes]", port: int) -> bool:
        assert process.poll() is None, (self.directory / "served.log").read_text()
        if not answers(port):
            return False
        assert not exposed(port), "A server that a test starts listens on loopback only."
        return True

    def stop_servers(self) -> None:
        for line, process in self._serving.items():
            if process is not None:
                _end(process, signal.SIGTERM)
                self._serving[line] = None


def newcomer(folder: Path, binaries: Path, wheel: Path, *constraints: str) -> Reader:
    """Return a reader who has Python and pip, and to whom pip gives ``wheel`` as apikeys."""
    file = folder / "constraints.txt"
    file.write_text("\n".join([f"apikeys @ {wheel.as_uri()}", *constraints]) + "\n")
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return Reader(folder, binaries, **kept, PIP_CONSTRAINT=str(file))


def _end(process: "subprocess.Popen[bytes]", by: signal.Signals) -> None:
    """It, and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, by)
    process.wait()


def _normal(text: str) -> str:
    text = _MOMENT.sub("<moment>", "".join(f"{line.rstrip()}\n" for line in text.splitlines()))
    return _ID.sub("<id>", _KEY.sub(r"\1_<id>_<secret>", text))


def aligned(shown: str, printed: str) -> list[tuple[str, str]] | None:
    """The lines that are shown, each with what was printed in its place; or they differ."""
    pattern = "".join(
        r"(?:.*\n)*?()" if line.strip() == "…" else f"({re.escape(line)})\n".replace("…", ".*?")
        for line in _normal(shown).splitlines()
    )
    normal, lines = _normal(printed), [*printed.splitlines(), ""]
    match = re.fullmatch(pattern, normal)
    if match is None:
        return None
    numbers = [normal.count("\n", 0, start) for start, _ in match.regs[1:]]
    return [
        (line, "" if line.strip() == "…" else lines[number])
        for line, number in zip(shown.splitlines(), numbers, strict=True)
    ]


def _update(document: str, blocks: list[tuple[Block, str]]) -> None:
    path = ROOT / document
    text = path.read_text("utf-8")
    for block, new in blocks:
        text = text.replace(f"```console\n{block.text}```", f"```console\n{new}```", 1)
    path.write_text(text, "utf-8")


def installed(line: str) -> None:
    """What `pip install` of a page names is what the project has to offer."""
    for word in line.removeprefix("pip install ").split():
        if word.startswith("-"):
            continue
        wanted = Requirement(word.strip("\"'"))
        offered = metadata.distribution(wanted.name).metadata.get_all("Provides-Extra") or []
        assert wanted.extras <= set(offered), f"{wanted.name} has no extra {wanted.extras}"
