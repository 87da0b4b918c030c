"""The rule of the setting ``PRESETS``."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from . import rules

#: The value of ``projects`` that makes the user select them.
SELECTED: Final = "selected"

_NAMES: Final = {"label", "name", "description", "scopes", "projects", "expires"}
_HOURS: Final = re.compile(r"([1-9][0-9]?)h", re.ASCII)


def hours(text: str) -> timedelta | None:
    """Return the lifetime of an expiry in hours, such as ``1h``; ``None`` for other text."""
    match = _HOURS.fullmatch(text)
    return timedelta(hours=int(match[1])) if match else None


def are_presets(given: Mapping[Any, Any]) -> bool:
    """Return whether all values of ``given`` are presets."""
    return all(isinstance(preset, Mapping) and _is_preset(preset) for preset in given.values())


def _is_preset(preset: Mapping[Any, Any]) -> bool:
    projects, expires = preset.get("projects", ()), preset.get("expires")
    return (
        set(preset) <= _NAMES
        and rules.is_list(preset.get("scopes", ()))
        and (rules.is_list(projects) or projects == SELECTED)
        and (
            expires in (None, "never")
            or type(expires) is int
            or (isinstance(expires, str) and hours(expires) is not None)
        )
    )
