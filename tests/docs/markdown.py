"""Markdown of tables and of Python values."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any


def row(*cells: str) -> str:
    text = " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {text} |".replace("|  |", "| |")


def table(*headers: str, rows: Iterable[Iterable[str]]) -> list[str]:
    return [row(*headers), row(*["---"] * len(headers)), *(row(*cells) for cells in rows), ""]


def python(value: Any) -> str:
    """Write a value as a settings file has it."""
    if isinstance(value, timedelta):
        hours, rest = divmod(value, timedelta(hours=1))
        return (
            f"timedelta(minutes={rest // timedelta(minutes=1)})" if rest else f"timedelta({hours=})"
        )
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}"
    return repr(value).replace("'", '"')
