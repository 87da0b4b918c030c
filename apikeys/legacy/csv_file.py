"""A list of keys as CSV (RFC 4180), from whatever had them before."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from django.views.decorators.debug import sensitive_variables

from ..lifecycle import MAX_YEAR
from ..tables import in_time_zone, rows
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
            moment = in_time_zone(datetime.fromisoformat(told))
            if column == "created" and not 1 < moment.year <= MAX_YEAR:
                raise OverflowError  # in another time zone, where it is shown
            setattr(candidate, f"{column}_at", moment)
        except (ValueError, OverflowError):
            return _wrong(
                number, f"{column} is not an ISO 8601 date and time such as 2030-01-31T12:00Z."
            )
    return candidate
