"""Fixtures for pytest: set ``pytest_plugins = ["apikeys.testing.pytest"]`` in ``conftest.py``.

Use the topmost ``conftest.py``. Needs pytest-django. The plugin also turns on ``fast_hashing``
and clears the recorded uses of keys before each test.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rest_framework.test import APIClient


@pytest.fixture
def key_client(db: None) -> Callable[..., "APIClient"]:
    """Return a function that creates a key and returns a client that sends it.

    Call ``key_client(user=…, scopes=[…])`` with the arguments of ``lifecycle.mint``. ``project=``
    creates a project key.
    """
    from .. import lifecycle
    from . import api_client

    def key_client(*, name: str = "test", **kwargs: Any) -> "APIClient":
        return api_client(lifecycle.mint(name=name, **kwargs))

    return key_client


@pytest.fixture
def access_client() -> Iterator[Callable[..., "APIClient"]]:
    """Return a function that returns a client with an ``Access`` but without a key or database.

    Call ``access_client(user=…, scopes=[…])`` with the arguments of ``access_for``. See
    ``force_access``. The credential works until the test ends.
    """
    from . import access_for, api_client, force_access

    with ExitStack() as stack:

        def access_client(**kwargs: Any) -> "APIClient":
            return api_client(stack.enter_context(force_access(access_for(**kwargs))))

        yield access_client


@pytest.fixture(scope="session", autouse=True)
def _fast_hashing() -> Iterator[None]:
    from . import fast_hashing

    with fast_hashing():
        yield


@pytest.fixture(autouse=True)
def _uses_of_this_test_alone() -> None:
    """Clear the recorded uses: after a rollback, new rows get the same primary keys."""
    from .. import usage

    usage._pending.clear()
