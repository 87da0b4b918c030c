"""Print tables for people, and handle a standard output that cannot be written.

On a terminal with rich, tables have colours and fit its width. Everywhere else they are plain
columns with one row to a line and nothing left out, for ``grep`` and ``awk``.
"""

import os
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from datetime import datetime
from io import StringIO
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.db import DatabaseError, InterfaceError
from django.utils import translation

from .. import mail, moments
from ..databases import unavailable
from ..databases.primary import reading_primary
from ..keys.facts import BY_NAME, FACTS
from ..models import State
from ..models.metadata import as_text
from ..restrictions import BY_NAME as RESTRICTIONS
from ..workloads import rules

Rows = Sequence[Sequence[str]]

_GAP = 2
_STATES = {"active": "green", "paused": "yellow", "expired": "yellow", "revoked": "red"}
_MOMENTS = {fact.name for fact in FACTS if fact.type is datetime}


class UnwritableError(CommandError):
    """Standard output cannot be written, or not any more."""

    def __init__(self, error: OSError | None = None) -> None:
        self.reader_left = isinstance(error, BrokenPipeError)
        why = error.strerror if error else "It is closed"
        super().__init__(f"Standard output cannot be written: {why}.")


class Output(OutputWrapper):
    """Standard output that raises ``UnwritableError`` where Python raises ``OSError``."""

    #: Whether a reader that closes the pipe now, such as ``head -1``, has what it needs.
    rest_is_optional = False

    def write(  # type: ignore[override]  # as in Django
        self, msg: str = "", style_func: Any = None, ending: str | None = None
    ) -> None:
        if self._out is None:
            raise UnwritableError
        try:
            super().write(msg, style_func, ending)
        except OSError as error:
            self._give_up(error)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        # Python would write the rest once more as it exits, and print another error.
        out: Any = self._out
        with suppress(OSError, AttributeError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), out.fileno())
        if not (self.rest_is_optional and isinstance(error, BrokenPipeError)):
            raise UnwritableError(error)


class WritingCommand(BaseCommand):
    """A command that prints one line and fails if its output cannot be written.

    If the reader closed the pipe, as ``| head`` does, it prints nothing, like other programs.

    Only the result goes to standard output. Everything else, such as the output of a mail backend
    for development, goes to standard error. Mails are sent after the result was printed.
    """

    stdout: Output

    def execute(self, *args: Any, **options: Any) -> Any:
        out: Any = options.pop("stdout", None) or self.stdout._out
        self.stdout = Output(out)
        try:
            try:
                with reading_primary(), redirect_stdout(sys.stderr), mail.held():
                    result = super().execute(*args, **options)
                    self.stdout.flush()
                    return result
            finally:
                self.stdout.flush()
        except UnwritableError as error:
            if error.reader_left:
                sys.exit(141)  # 128 + SIGPIPE, as for a program that this signal ends
            raise CommandError(str(error)) from error
        except (DatabaseError, InterfaceError) as error:
            # An outage is one line, like a refusal. A bug keeps its traceback.
            if (why := unavailable.reason(error)) is None:
                raise
            text = " ".join(str(error).split())
            raise CommandError(f"The command failed because {why.value}: {text}") from error


class Screen:
    """Print text and tables to ``out``, in colour if ``color`` is true."""

    def __init__(self, out: OutputWrapper, *, color: bool) -> None:
        self._out = out
        self._color = color

    def line(self, text: str = "") -> None:
        self._write("\n".join(map(_printable, text.split("\n"))))

    def _write(self, text: str) -> None:
        # Print a question mark for a letter that the encoding lacks, instead of failing.
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        shown = text.encode(encoding, "replace").decode(encoding)
        self._out.write(shown + "\n", style_func=str, ending="")

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Print a record, or ``Access.facts()``, one line for each fact that has a value.

        Leave out a fact that says only what is true of almost every key (``Fact.usual``).
        """
        shown = {
            name: show(name, value)
            for name, value in facts.items()
            if value is None or name not in BY_NAME or value != BY_NAME[name].usual
        }
        rows = [[name.replace("_", " "), text] for name, text in shown.items() if text]
        self.table((), rows)

    def table(self, headers: Sequence[str], rows: Rows, expendable: Sequence[str] = ()) -> None:
        """Print a table.

        ``expendable`` has the headers of columns to leave out on a narrow terminal, in order.
        """
        rows = [[_printable(cell) for cell in row] for row in rows]
        if self._color or self._out.isatty():
            try:
                self._rich(headers, rows, expendable)
            except ImportError:
                pass
            else:
                return
        self._plain(headers, rows)

    def _plain(self, headers: Sequence[str], rows: Rows) -> None:
        lines = [headers, *rows] if headers else rows
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for cells in lines:
            padded = (cell.ljust(width + _GAP) for cell, width in zip(cells, widths, strict=True))
            self._write("".join(padded).rstrip())

    def _rich(self, headers: Sequence[str], rows: Rows, expendable: Sequence[str]) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        room = shutil.get_terminal_size().columns if self._out.isatty() else 10_000
        columns = list(zip(*[headers, *rows] if headers else rows, strict=True))
        widths, omitted = _fit(columns, room, expendable)
        columns = [column for column in columns if column[0] not in omitted]

        table = Table(
            box=SIMPLE_HEAD if headers else None,
            padding=(0, _GAP - bool(headers), 0, 0),  # the box has a blank between columns
            pad_edge=False,
            show_edge=False,
            show_header=bool(headers),
        )
        for column, width in zip(columns, widths, strict=True):
            table.add_column(column[0], width=width, overflow="fold")
        if not headers:
            table.columns[0].style = "bold"
        for cells in list(zip(*columns, strict=True))[bool(headers) :]:
            names = [column[0] for column in columns] if headers else cells[:1] * len(cells)
            styles = [
                _STATES.get(cell.partition(" ")[0], "") if name.lower() == "state" else ""
                for name, cell in zip(names, cells, strict=True)
            ]
            table.add_row(*map(Text, cells, styles))
        console = Console(
            file=(text := StringIO()),
            # Wider than the terminal if necessary: a terminal wraps lines, rich cuts them off.
            width=max(room, sum(widths) + _GAP * len(widths)),
            force_terminal=self._color,
            color_system="standard" if self._color else None,
            legacy_windows=False,
        )
        console.print(table)
        for line in text.getvalue().splitlines():
            self._write(line.rstrip())
        if omitted:
            self.line(f"\nThis terminal is too narrow for {', '.join(omitted)}.")


def _fit(
    columns: Sequence[Sequence[str]], room: int, expendable: Iterable[str]
) -> tuple[list[int], Collection[str]]:
    """Return widths at which the table fits into ``room`` with whole words.

    Also return the headers of the columns that have to be left out.
    """
    from rich.cells import cell_len

    omitted: list[str] = []
    spare = iter(expendable)
    while True:
        kept = [column for column in columns if column[0] not in omitted]
        widths = [max(map(cell_len, column)) for column in kept]
        least = [max(map(cell_len, " ".join(column).split() or [""])) for column in kept]
        room_for_text = room - _GAP * (len(kept) - 1)
        if sum(least) <= room_for_text or (header := next(spare, None)) is None:
            break
        omitted.append(header)
    while sum(widths) > room_for_text and widths != least:
        slack = [width - low for width, low in zip(widths, least, strict=True)]
        widths[slack.index(max(slack))] -= 1
    return widths, omitted


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``2 keys``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def show(name: str, value: Any) -> str:
    """Return a fact as people read it, or empty text if there is nothing to show."""
    if value is None:
        with translation.override(None):  # the commands speak English
            return str(BY_NAME[name].absent) if name in BY_NAME else ""
    if isinstance(value, list):
        absent = RESTRICTIONS[name].option.absent if name in RESTRICTIONS else "none"
        return " ".join(value) or absent
    if name == "public_key":  # in one line, without the header and footer of PEM
        return "".join(value.splitlines()[1:-1])
    if name == "metadata":
        return as_text(value)
    if name == "used_after_end":
        return show_uses(value)
    if isinstance(value, dict):  # what a key trusts
        return rules.describe(value)
    if name == "state":
        with translation.override(None):
            return str(State(value).label)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _moment(value) if name.endswith("_at") or name in _MOMENTS else str(value)


def show_uses(uses: dict[str, Any]) -> str:
    """Return how often a key was used after its end, and from where."""
    times = f"{counted(uses['count'], 'time')}, first {_moment(uses['first'])}, "
    return f"{times}last {_moment(uses['last'])} from {uses['ip'] or 'an unknown address'}"


def _moment(iso: str) -> str:
    moment = moments.local(datetime.fromisoformat(iso))
    return moment.strftime("%Y-%m-%d %H:%M %Z").rstrip()


def _printable(text: str) -> str:
    """Replace characters that control a terminal: people choose the names that are shown."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
