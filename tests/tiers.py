"""Leave parameters and steps of slow tests to `--long`, to keep `--all` short."""

from collections.abc import Iterable
from typing import Any

import pytest


def sampled(values: Iterable[Any], keep: int = 2) -> list[Any]:
    """Return the parameters of a slow test: `--all` runs ``keep`` of them, `--long` the rest.

    A tuple has one value for each name. The kept ones are spread evenly, the first is among them.
    """
    values = list(values)
    kept = {round(number * len(values) / keep) for number in range(keep)}
    return [value if number in kept else long(value) for number, value in enumerate(values)]


def long(value: Any) -> Any:
    """Return a parameter that only `--long` runs."""
    if hasattr(value, "marks"):  # it is pytest.param(…) already
        return value._replace(marks=[*value.marks, pytest.mark.long])
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.long)


#: The number of queries, or pages, from one step of a walk to the next.
STEPS = [pytest.param(4, id="each fourth"), pytest.param(1, id="each", marks=pytest.mark.long)]
