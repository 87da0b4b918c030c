"""Write CSV (RFC 4180) of which no spreadsheet runs a cell as a formula."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

#: Characters that begin a formula in a spreadsheet. U+2212 is the minus sign of mathematics.
_SIGNS: Final = frozenset("=+-@\u2212")
_BREAKS: Final = frozenset("\t\r\n")


def cell(value: Any) -> Any:
    """Return ``value``. Put a ``'`` before it if a spreadsheet would run it as a formula.

    Spreadsheets skip blanks before the sign. They also accept full-width signs.
    """
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def _is_formula(text: str) -> bool:
    blank = tuple(takewhile(lambda c: unicodedata.category(c)[0] in "CMZ", text))
    first = text[len(blank) : len(blank) + 1]
    return not _BREAKS.isdisjoint(blank) or unicodedata.normalize("NFKC", first) in _SIGNS


def lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a header with ``columns``, and each row as a line. Other keys of a row are left out."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in rows:
        yield _taken(buffer)
        writer.writerow([cell(row.get(name)) for name in columns])
    yield _taken(buffer)


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
