"""Write cells of CSV (RFC 4180) that no spreadsheet runs as a formula."""

import unicodedata
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
