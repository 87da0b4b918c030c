"""A list of keys as CSV (RFC 4180), from whatever had them before."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ..lifecycle import LifecycleError
from .sources import Candidate, Skip

COLUMNS: Final = (
    "key", "hash", "user", "project", "name", "scopes", "created", "expires",
)  # fmt: skip


@sensitive_variables("line")
def read(text: Iterable[str]) -> Iterator[Candidate]:
    """A candidate a line, with why it cannot be taken if so; by the names of the first line.

    ``user`` and ``project`` stay names. Raises ``LifecycleError`` (``invalid_csv``).
    """
    for number, line in rows(text, COLUMNS, ({"key", "hash"}, {"user", "project"})):
        yield _wrong(number, line) if isinstance(line, str) else _candidate(number, line)


@sensitive_variables("row", "header")
def rows(
    text: Iterable[str], columns: Sequence[str], needed: Sequence[set[str]]
) -> Iterator[tuple[int, dict[str, str] | str]]:
    """The number of each line and its cells by column, or what is wrong with it.

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
        except UnicodeDecodeError:
            told = "It is not UTF-8, nor is what follows read. Convert the file and repeat."
            yield reader.line_num + 1, told
            return
        if row is None:
            return
        if len(row) == len(header):
            yield reader.line_num, dict(zip(header, (cell.strip() for cell in row), strict=True))
        elif row:
            told = f"It has {len(row)} columns, where the first line has {len(header)}."
            yield reader.line_num, told


def _header(reader: Any, columns: Sequence[str], needed: Sequence[set[str]]) -> list[str]:
    try:
        header = [name.strip().lower() for name in next(reader, [])]
    except (csv.Error, UnicodeDecodeError):
        raise LifecycleError("invalid_csv", "The first line is not CSV in UTF-8.") from None
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


def _wrong(number: int, told: str) -> Candidate:
    return Candidate(where=f"line {number}", skip=Skip("invalid_line", told))


@sensitive_variables("line", "candidate")
def _candidate(number: int, line: dict[str, str]) -> Candidate:
    key, stored = line.get("key", ""), line.get("hash", "")
    if bool(key) == bool(stored):
        return _wrong(number, "It takes a key or a hash, one of them.")
    user, project = line.get("user", ""), line.get("project", "")
    if not user and not project:
        return _wrong(number, "It takes a user, or a project.")
    candidate = Candidate(
        where=f"line {number}",
        name=line.get("name") or "Imported key",
        user=user or None,
        project=project if not user else None,
        projects=[project] if user and project else [],
        scopes=line.get("scopes", "").split(),
        text=key,
        hash=stored,
    )
    for column in ("created", "expires"):
        if not (told := line.get(column)):
            continue
        try:
            setattr(candidate, f"{column}_at", _moment(told))
        except (ValueError, OverflowError):
            return _wrong(
                number, f"{column} is not an ISO 8601 date and time such as 2030-01-31T12:00Z."
            )
    return candidate


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if not settings.USE_TZ:
        return timezone.make_naive(moment) if timezone.is_aware(moment) else moment
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
