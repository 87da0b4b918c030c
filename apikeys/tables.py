"""Tables as CSV (RFC 4180), as people make them, and the moments that people write."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .lifecycle import LifecycleError


def in_time_zone(moment: datetime) -> datetime:
    """As Django stores it; what says no time zone is in the current one.

    Raises ``OverflowError`` for what is beyond the calendar there.
    """
    if not settings.USE_TZ:
        return timezone.make_naive(moment) if timezone.is_aware(moment) else moment
    aware = moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    return aware.astimezone(UTC)


@sensitive_variables("row", "header")
def rows(
    text: Iterable[str], columns: Sequence[str], needed: Sequence[set[str]]
) -> Iterator[tuple[int, dict[str, str] | str]]:
    """The number of each line and its cells by column, or what is wrong with it.

    What is not UTF-8 comes as ``surrogateescape`` has it.
    The first line names the columns, one or more of each set in ``needed`` among them. Raises
    ``LifecycleError`` (``invalid_csv``) otherwise; it repeats nothing that it read.
    """
    reader = csv.reader(text, strict=True)
    header = _header(reader, columns, needed)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield reader.line_num, f"It is not CSV: {error}."
            continue
        if row is None:
            return
        if not _is_text(row):
            yield reader.line_num, "It is not UTF-8."
        elif len(row) == len(header):
            yield reader.line_num, dict(zip(header, (cell.strip() for cell in row), strict=True))
        elif row:
            told = f"It has {len(row)} columns, where the first line has {len(header)}."
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
        # Not what it has: a file without a header begins with a key.
        wanted = ", ".join(" or ".join(c for c in columns if c in each) for each in needed)
        rest = ", ".join(c for c in columns if not any(c in each for each in needed))
        also = f", and perhaps {rest}" if rest else ""
        message = f"The first line has to name the columns {wanted}{also}; each once."
        raise LifecycleError("invalid_csv", message)
    return header


def _is_text(row: list[str]) -> bool:
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return False
    return True
