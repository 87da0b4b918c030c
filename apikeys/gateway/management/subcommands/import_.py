from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ....errors import LifecycleError
from ....management.progress import open_text, position, progress, size_of
from ....management.terminal import Terminal
from ...imports import COLUMNS, Importer, WrongLine

HELP = "Import bindings from a CSV file."
MORE = (
    f"The first line names the columns: {', '.join(COLUMNS)}. Wrong lines are skipped and listed "
    "by number. Existing bindings stay as they are, so you can repeat an import."
)

_SHOWN = 100  # wrong lines, to people


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("file", metavar="FILE", help="A path, or - for standard input.")
    parser.add_argument("--dry-run", action="store_true", help="Check all lines and store nothing.")


def handle(terminal: Terminal, *, file: str, dry_run: bool, **options: Any) -> None:
    importer = Importer(dry_run)
    try:
        with open_text(file) as text, progress("lines", size_of(file)) as advance:
            importer.on_progress = lambda outcome: advance(outcome.lines, position(text))
            _report(terminal, importer, importer.run(text))
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}."
        raise LifecycleError("unreadable", message, "file") from error
    if not terminal.as_json:
        terminal.screen.line(_summary(importer))
    if importer.outcome.wrong:
        raise CommandError("Some lines are wrong. Correct them and repeat the import.")


def _report(terminal: Terminal, importer: Importer, wrong: Iterator[WrongLine]) -> None:
    if terminal.as_json:
        # Read the first line before anything is printed, so that a wrong file is one error.
        wrong = chain(list(islice(wrong, 1)), wrong)
        records = ({"line": each.number, "detail": each.message} for each in wrong)
        terminal.json_object("errors", records, lambda: _facts(importer))
        return
    for count, each in enumerate(wrong, start=1):
        if count <= _SHOWN:
            terminal.notes.line(f"Line {each.number}: {each.message}")
    if importer.outcome.wrong > _SHOWN:
        terminal.notes.line(f"… and {importer.outcome.wrong - _SHOWN:,} more.")


def _facts(importer: Importer) -> dict[str, Any]:
    outcome = importer.outcome
    return {
        "dry_run": importer.dry_run,
        "read": outcome.lines,
        "created": outcome.created,
        "existing": outcome.existing,
        "wrong": outcome.wrong,
    }


def _summary(importer: Importer) -> str:
    outcome = importer.outcome
    verb = "would be created" if importer.dry_run else "created"
    return (
        f"{outcome.lines:,} lines: {outcome.created:,} {verb}, "
        f"{outcome.existing:,} already there, {outcome.wrong:,} wrong."
    )
