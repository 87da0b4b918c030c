"""Tables for people.

On a terminal with rich they have colours and fit its width. Everywhere else they are plain
columns, a row to a line and nothing left out, for ``grep`` and ``awk``.
"""

import os
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from io import StringIO
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.utils import timezone

Rows = Sequence[Sequence[str]]

_GAP = 2
_STATES = {"live": "green", "expired": "yellow", "revoked": "red"}
_ABSENT = {"projects": "all", "expires_at": "never", "last_used_at": "never"}


class UnwritableError(CommandError):
    """Standard output takes nothing, or no more."""

    def __init__(self, error: OSError | None = None) -> None:
        self.reader_left = isinstance(error, BrokenPipeError)
        why = error.strerror if error else "It is closed"
        super().__init__(f"Standard output cannot be written: {why}.")


class Output(OutputWrapper):
    """Standard output that raises ``UnwritableError``."""

    #: Whether a reader has all that it came for, such as ``head -1``.
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
        # What is left would be tried once more, and complained of, as Python ends.
        out: Any = self._out
        with suppress(OSError, AttributeError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), out.fileno())
        if not (self.rest_is_optional and isinstance(error, BrokenPipeError)):
            raise UnwritableError(error)


class WritingCommand(BaseCommand):
    """A command that ends in one line where its output cannot be written.

    Quietly, as other programs do, where nobody reads on: ``| head``.
    """

    stdout: Output

    def execute(self, *args: Any, **options: Any) -> Any:
        out: Any = options.pop("stdout", None) or self.stdout._out
        self.stdout = Output(out)
        try:
            try:
                return super().execute(*args, **options)
            finally:
                self.stdout.flush()
        except UnwritableError as error:
            if error.reader_left:
                sys.exit(141)  # 128 and SIGPIPE, as of a program that is ended by it
            raise CommandError(str(error)) from error


class Screen:
    """Writes to ``out``, with colours if it is told to."""

    def __init__(self, out: OutputWrapper, *, color: bool) -> None:
        self._out = out
        self._color = color

    def line(self, text: str = "") -> None:
        self._write("\n".join(map(_printable, text.split("\n"))))

    def _write(self, text: str) -> None:
        # A letter that this encoding lacks is a question mark, not an error.
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        shown = text.encode(encoding, "replace").decode(encoding)
        self._out.write(shown + "\n", style_func=str, ending="")

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Of a record or of ``Access.facts()``, those that there are; a line each."""
        told = {name: show(name, value) for name, value in facts.items()}
        rows = [[name.replace("_", " "), text] for name, text in told.items() if text]
        self.table((), rows)

    def table(self, headers: Sequence[str], rows: Rows, expendable: Sequence[str] = ()) -> None:
        """``expendable``: the headers of what a narrow terminal may leave out, first first."""
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
            # Wider than the terminal if need be: it breaks lines, where rich would cut them off.
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
    """Widths at which the table fits into ``room`` with every word whole, and what has to go."""
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


def show(name: str, value: Any) -> str:
    """A fact as people read it; empty if there is nothing to tell."""
    if value is None:
        return _ABSENT.get(name, "")
    if isinstance(value, list):
        return " ".join(value) or "none"
    if name == "public_key":  # in one line, without what all of them begin and end with
        return "".join(value.splitlines()[1:-1])
    return _moment(value) if name.endswith("_at") else str(value)


def _moment(iso: str) -> str:
    moment = datetime.fromisoformat(iso)
    if timezone.is_aware(moment):
        moment = timezone.localtime(moment)
    return moment.strftime("%Y-%m-%d %H:%M %Z").rstrip()


def _printable(text: str) -> str:
    """Names are people's own: none of them gets to steer a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
