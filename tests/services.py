"""A missing service fails in CI, and is a skip that says why elsewhere."""

import os
import socket

import pytest


def require(name: str, present: bool, hint: str) -> None:
    if present:
        return
    reason = f"{name} is not here. {hint}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def require_postgresql() -> None:
    host = os.environ.get("POSTGRESQL_HOST", "127.0.0.1")
    with socket.socket() as probe:
        answers = probe.connect_ex((host, 5432)) == 0
    require("PostgreSQL", answers, "Start it on port 5432, or name its host in POSTGRESQL_HOST.")
