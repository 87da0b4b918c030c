"""API keys, personal access tokens and OAuth tokens under one Bearer header.

Each subject has one module or package here; docs/explanation/architecture.md maps them. This
file itself imports none of them.
"""

from importlib import import_module
from types import ModuleType
from warnings import warn

__all__ = ["__version__"]

#: The version of the package, by semantic versioning.
__version__ = "1.0.0"

#: Where modules that 1.0 had at the root are now. They are private, and were imported all the same.
_MOVED = {
    "github": "apikeys.leaks.github",
    "header": "apikeys.http.header",
    "lookup": "apikeys.cache.lookup",
    "networks": "apikeys.limits.networks",
    "notices": "apikeys.mail",
    "observations": "apikeys.usage.findings",
    "pepper_loss": "apikeys.hashing.lost_peppers",
    "rates": "apikeys.limits.rates",
    "records": "apikeys.keys.facts",
    "states": "apikeys.keys.queries",
    "tracking": "apikeys.cache.invalidation",
    "tries": "apikeys.limits.attempts",
}


def __getattr__(name: str) -> ModuleType:
    """Import a module that has moved, for ``from apikeys import <module>``, with a warning."""
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    message = f"apikeys.{name} has moved: use {_MOVED[name]}."
    warn(message, DeprecationWarning, stacklevel=2)
    return import_module(_MOVED[name])
