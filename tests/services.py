"""What a test needs of the machine. Missing, it fails in CI, and elsewhere is a skip."""

import os

import pytest


def require(name: str, present: bool, hint: str) -> None:
    if present:
        return
    reason = f"{name} is not here. {hint}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
