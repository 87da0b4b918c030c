"""Read CSV files with named columns (RFC 4180)."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.views.decorators.debug import sensitive_variables

from ..errors import LifecycleError


@sensitive_variables("row", "header")
def rows(
    text: Iterable[str], columns: Sequence[str], needed: Sequence[set[str]]
) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Yield the number of each line with its cells by column, or with an error message.

    Open ``text`` with ``errors="surrogateescape"``: a line that is not UTF-8 gives a message.

    The first line names the columns, with at least one of each set in ``needed``. Raise
    ``LifecycleError`` (``invalid_csv``) otherwise. No message repeats the content of the file.
    """
    reader = csv.reader(text, strict=True)
    header = _header(reader, columns, needed)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield reader.line_num, f"The line is not CSV: {error}."
            continue
        if row is None:
            return
        if not _is_text(row):
            yield reader.line_num, "The line is not UTF-8."
        elif len(row) == len(header):
            yield reader.line_num, dict(zip(header, (cell.strip() for cell in row), strict=True))
        elif row:
            told = f"The line has {len(row)} columns, but the first line has {len(header)}."
            yield reader.line_num, told


def _header(reader: Any, columns: Sequence[str], needed: Sequence[set[str]]) -> list[str]:
    try:
        header = [name.strip().lower() for name in next(reader, [])]
    except csv.Error:
        raise LifecycleError("invalid_csv", "The first line is not CSV.") from None
    if not _is_text(header):
        raise LifecycleError("invalid_csv", "The first line is not UTF-8.")
    if header:
        header[0] = header[0].removeprefix("\ufeff")
    names = set(header)
    if len(names) != len(header) or names - set(columns) or not all(names & n for n in needed):
        # Do not quote the first line: in a file without a header it contains a key.
        wanted = ", ".join(" or ".join(c for c in columns if c in each) for each in needed)
        rest = ", ".join(c for c in columns if not any(c in each for each in needed))
        also = f", optionally {rest}" if rest else ""
        message = f"The first line must name the columns {wanted}{also}, each only once."
        raise LifecycleError("invalid_csv", message)
    return header


def _is_text(row: list[str]) -> bool:
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return False
    return True
