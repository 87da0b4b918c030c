"""Fixtures, factories and credentials for the tests of your site.

Load the fixtures with ``pytest_plugins = ["apikeys.testing.pytest"]``. The factories need the
extra ``testing``. Names are imported at their first use, so that the plugin can be loaded before
Django is set up. The tests of this package are in ``tests``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .credentials import access_for, api_client, bearer, fast_hashing, force_access
    from .factories import (
        MembershipFactory,
        PersonalAccessTokenFactory,
        ProjectFactory,
        ProjectKeyFactory,
        UserFactory,
    )

__all__ = [
    "MembershipFactory",
    "PersonalAccessTokenFactory",
    "ProjectFactory",
    "ProjectKeyFactory",
    "UserFactory",
    "access_for",
    "api_client",
    "bearer",
    "fast_hashing",
    "force_access",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "factories" if name.endswith("Factory") else "credentials"
    return getattr(import_module(f".{module}", __name__), name)
