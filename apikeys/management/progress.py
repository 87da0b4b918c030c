"""Show the progress of a long command: a bar on a terminal, nothing elsewhere."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import TextIOWrapper
from typing import TextIO

#: Takes the number of items that are done. If the total counts other units, such as bytes, it
#: also takes how many of those are done.
Advance = Callable[[int, int | None], None]


def open_text(file: str) -> AbstractContextManager[TextIO]:
    """Open a file of UTF-8 text for ``csv_rows``, or standard input for ``-``."""
    if file != "-":
        return open(file, encoding="utf-8", errors="surrogateescape", newline="")
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")
    return nullcontext(sys.stdin)


def size_of(file: str) -> int | None:
    """Return the size of a file in bytes, or ``None`` if it is not known."""
    return os.path.getsize(file) if file != "-" and os.path.isfile(file) else None


def position(text: TextIO) -> int | None:
    """Return the position in a text that is being iterated, in bytes of its raw file."""
    return text.buffer.tell() if hasattr(text, "buffer") and text.buffer.seekable() else None


def _nowhere(done: int, part: int | None = None) -> None:
    pass


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Advance]:
    if not sys.stderr.isatty():
        yield _nowhere
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:

        def plain(done: int, part: int | None = None) -> None:
            share = f" {(done if part is None else part) * 100 // total}%" if total else ""
            sys.stderr.write(f"\r{done:,} {what}{share}")
            sys.stderr.flush()

        yield plain
        sys.stderr.write("\n")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"0 {what}", total=total)

        def advance(done: int, part: int | None = None) -> None:
            shown = done if part is None else part
            bar.update(task, completed=shown, description=f"{done:,} {what}")

        yield advance
