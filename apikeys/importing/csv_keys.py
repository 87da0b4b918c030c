"""Read keys from a CSV file (RFC 4180), whatever stored them before."""

from collections.abc import Iterable, Iterator
from typing import Final

from django.views.decorators.debug import sensitive_variables

from .. import moments
from ..errors import LifecycleError
from ..lifecycle import MAX_YEAR
from ..restrictions import RESTRICTIONS
from .csv_rows import rows
from .sources import Candidate, Skip

#: The restrictions whose command option takes a value. Each has a column.
RESTRICTED: Final = tuple(each for each in RESTRICTIONS if each.option.metavar)
COLUMNS: Final = (
    "key", "hash", "user", "project", "name", "scopes", "created", "expires",
    *(each.name for each in RESTRICTED),
)  # fmt: skip


@sensitive_variables("line")
def read(text: Iterable[str]) -> Iterator[Candidate]:
    """Yield a candidate for each line. ``skip`` says why a line cannot be imported.

    The first line names the columns. ``user`` and ``project`` stay names. Raise
    ``LifecycleError`` (``invalid_csv``).
    """
    for number, line in rows(text, COLUMNS, ({"key", "hash"}, {"user", "project"})):
        yield _wrong(number, line) if isinstance(line, str) else _candidate(number, line)


def _wrong(number: int, told: str) -> Candidate:
    return Candidate(where=f"line {number}", skip=Skip("invalid_line", told))


@sensitive_variables("line", "candidate")
def _candidate(number: int, line: dict[str, str]) -> Candidate:
    key, stored = line.get("key", ""), line.get("hash", "")
    if bool(key) == bool(stored):
        return _wrong(number, "The line needs either a key or a hash.")
    user, project = line.get("user", ""), line.get("project", "")
    if not user and not project:
        return _wrong(number, "The line needs a user or a project.")
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
            moment = moments.parse(told) if column == "expires" else moments.parse_start(told)
            if column == "created" and not 1 < moment.year <= MAX_YEAR:
                raise OverflowError  # it could not be shown in another time zone
            setattr(candidate, f"{column}_at", moment)
        except (ValueError, OverflowError):
            return _wrong(
                number, f"{column} is not an ISO 8601 date and time such as 2030-01-31T12:00Z."
            )
    for each in RESTRICTED:
        if told := line.get(each.name):
            try:
                given = each.from_option(told.split() if each.option.repeats else told)
                candidate.restrictions[each.name] = each.parse(given)
            except LifecycleError:  # its message may repeat the value, which may be a key
                return _wrong(number, f"The value of {each.name} is invalid.")
    return candidate
