"""Fixtures: ``pytest_plugins = ["apikeys.testing.pytest"]`` in the topmost ``conftest.py``.

Needs pytest-django. While it is loaded, keys are minted with ``fast_hashing``, and what a test
did with a key is not told of a later one.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rest_framework.test import APIClient


@pytest.fixture
def key_client(db: None) -> Callable[..., "APIClient"]:
    """``key_client(user=…, scopes=[…])``: a client with a key that was minted for it.

    Takes the arguments of ``lifecycle.mint``; ``project=`` makes it a project key.
    """
    from .. import lifecycle
    from . import api_client

    def key_client(*, name: str = "test", **kwargs: Any) -> "APIClient":
        return api_client(lifecycle.mint(name=name, **kwargs))

    return key_client


@pytest.fixture
def access_client() -> Iterator[Callable[..., "APIClient"]]:
    """``access_client(user=…, scopes=[…])``: a client with no key behind it, nor a database.

    Takes the arguments of ``access_for``; see ``force_access``. Ends with the test.
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
    """Rows are rolled back after a test, and their primary keys come again."""
    from .. import usage

    usage._pending.clear()
