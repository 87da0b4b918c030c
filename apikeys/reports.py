"""Moved to ``apikeys.error_reports``; these names stay until 2.0 and warn."""

from typing import Any
from warnings import warn

from . import error_reports


def __getattr__(name: str) -> Any:
    if name not in error_reports.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    message = f"apikeys.reports.{name} has moved: use apikeys.error_reports.{name}."
    warn(message, DeprecationWarning, stacklevel=2)
    return getattr(error_reports, name)
