"""Somebody who does as a page says: writes its files, types its commands, and compares.

What a page shows a command printing is what it prints. Three things differ from run to run, and
may differ from what is shown: moments (2030-01-01 12:00 UTC), ids and secrets. An id or a secret
that a page shows stands for the one that was printed in its place, in later commands too. `…` is
any text within a line, and a line of its own any lines.

`UPDATE_DOCS=1` writes what was printed into the page instead of comparing it.
"""

import os
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from packaging.requirements import Requirement

from tests.documents import ROOT
from tests.servers import answers, free_port, wait_until

UPDATE = bool(os.environ.get("UPDATE_DOCS"))
TIMEOUT = 300
SITE = "127.0.0.1:8000"

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
        self.project = "acme"
        self.known: dict[str, str] = {}  # what is shown: what it stands for
        self.skip: tuple[str, ...] = ()
        self.port = free_port()
        self._server: subprocess.Popen[bytes] | None = None
        self._environment = {
            "PATH": f"{binaries}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(directory),
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "100",
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
        self.stop_server()
        self._shell.kill()
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
        name = block.file if "/" in block.file else f"{self.project}/{block.file}"
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        adds = path.name in {"settings.py", "urls.py"} and path.exists()
        path.write_text((path.read_text() + "\n" if adds else "") + self.actual(block.text))
        self.stop_server()  # the next request gets one that has read it

    def _console(self, block: Block) -> str:
        new = ""
        for line, shown in commands(block.text):
            prompt = "$ " if "\n$ " in f"\n{block.text}" else ""
            new += f"{prompt}{line}\n"
            if line.startswith("pip install") and self.skip:
                installed(line)
            if line.startswith(self.skip) and self.skip:
                new += shown and f"{shown}\n"
                continue
            if "manage.py runserver" in line:
                self._start_server()
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

    def type(self, line: str) -> tuple[str, int]:
        """What a command prints, on both outputs, and its exit status."""
        line = self.actual(line)
        if SITE in line:
            self._start_server()
            line = line.replace(SITE, f"127.0.0.1:{self.port}")
        line = re.sub(r"^curl\b", "curl --silent --show-error", line)
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
        printed = got[: done.start()].rstrip().replace(f"127.0.0.1:{self.port}", SITE)
        return printed, int(done[1])

    def actual(self, text: str) -> str:
        """``text`` with the ids and secrets of this run."""
        for shown, real in sorted(self.known.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(shown, real)
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
            for mine, theirs in zip(_ID.finditer(shown), _ID.finditer(printed), strict=False):
                known = self.known.setdefault(mine[0], theirs[0])
                assert known == theirs[0], f"{mine[0]} is not one id only"

    def _start_server(self) -> None:
        if self._server is not None:
            return
        serve = f"exec python manage.py runserver --noreload {self.port}"
        if not self.skip:
            serve = f". venv/bin/activate; {serve}"  # a terminal of its own
        with (self.directory / "runserver.log").open("ab") as log:
            self._server = subprocess.Popen(
                ["bash", "-c", serve],
                cwd=self.directory,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: answers(self.port) or self._has_failed(), 60)

    def _has_failed(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, (self.directory / "runserver.log").read_text()
        return False

    def stop_server(self) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait()
            self._server = None


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
