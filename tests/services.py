"""A missing service fails in CI, and is a skip that says why elsewhere."""

import os

import pytest


def require(name: str, present: bool, hint: str) -> None:
    if present:
        return
    reason = f"{name} is not here. {hint}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
