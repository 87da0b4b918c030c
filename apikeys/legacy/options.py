"""Read the entries ``LIVE`` and ``VERIFY`` of a scheme in ``APIKEYS["LEGACY"]``."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from .. import scopes
from ..conf import app_settings
from .texts import Hook

NAMES: Final = ("LIVE", "VERIFY")
_NAMES_OF_LIVE: Final = {"SCOPES", "PROJECTS", "MODEL", "FIELDS", "OWNER"}


class Live(NamedTuple):
    """How to import keys of another package when they are used for the first time."""

    scopes: Sequence[str]
    #: Slugs of projects, as for ``--project``.
    projects: Sequence[str] = ()
    model: str = ""
    fields: Mapping[str, str] = {}
    owner: str = ""


def parse_live(name: str, given: Any) -> Live | None:
    """Parse ``LIVE``. Raise ``ValueError`` or ``TypeError`` with a message."""
    if not given:
        return None
    if name == "csv":
        raise ValueError("'csv' cannot have LIVE: a file has no table to read.")
    if not isinstance(given, Mapping) or set(given) - _NAMES_OF_LIVE:
        names = ", ".join(sorted(_NAMES_OF_LIVE))
        raise TypeError(f"LIVE of {name!r} must be a dictionary with SCOPES, and may have {names}.")
    names = given.get("SCOPES", ())
    if not names or isinstance(names, str) or scopes.unknown(names):
        raise ValueError(f"LIVE of {name!r} needs SCOPES: a list of your scopes.")
    fields = given.get("FIELDS", {})
    if not isinstance(fields, Mapping):
        raise TypeError(f"FIELDS of {name!r} must be a dictionary, such as {{'key': 'token'}}.")
    projects = given.get("PROJECTS", ())
    if isinstance(projects, str):
        raise TypeError(f"PROJECTS of {name!r} must be a list of slugs.")
    return Live(names, projects, given.get("MODEL", ""), fields, given.get("OWNER", ""))


def parse_hook(name: str, given: Any) -> Hook | None:
    """Import ``VERIFY``. Raise ``ValueError`` with a message."""
    if given is None:
        return None
    try:
        hook: Any = import_string(given) if isinstance(given, str) else given
    except ImportError as error:
        raise ValueError(f"VERIFY of {name!r} cannot be imported: {error}") from None
    if not callable(hook):
        raise ValueError(f"VERIFY of {name!r} must be the dotted path of a function.")
    return hook  # type: ignore[no-any-return]


@cache
def live_of(name: str) -> Live | None:
    """Return the entry ``LIVE`` of a scheme, or ``None``."""
    return parse_live(name, _entry(name).get("LIVE"))


@cache
def hook_of(name: str) -> Hook | None:
    """Return the function ``VERIFY`` of a scheme, or ``None``."""
    return parse_hook(name, _entry(name).get("VERIFY"))


def _entry(name: str) -> Mapping[str, Any]:
    entry = app_settings.LEGACY.get(name)
    return entry if isinstance(entry, Mapping) else {}


def _reload(*, setting: str, **kwargs: object) -> None:
    if setting == "APIKEYS":
        live_of.cache_clear()
        hook_of.cache_clear()


setting_changed.connect(_reload, dispatch_uid="apikeys.legacy.options")
