"""Export the credentials that reach a project, as CSV or JSON."""

import json
from collections.abc import Callable, Iterable
from typing import Final

from .. import spreadsheets
from .entries import FIELDS, Entry, record


def as_csv(found: Iterable[Entry]) -> str:
    """Return a header and the entries as CSV. Escape cells that look like formulas."""
    rows = ({**record(entry), "scopes": " ".join(entry.scopes)} for entry in found)
    return "".join(spreadsheets.lines(FIELDS, rows))


def as_json(found: Iterable[Entry]) -> str:
    """Return the entries as a JSON array."""
    return json.dumps([record(entry) for entry in found], indent=2)


#: The formats by name: a function that returns the text, and the media type.
FORMATS: Final[dict[str, tuple[Callable[[Iterable[Entry]], str], str]]] = {
    "csv": (as_csv, "text/csv; charset=utf-8"),
    "json": (as_json, "application/json"),
}
