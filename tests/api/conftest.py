import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.factories import MembershipFactory, bearer


class Caller:
    """Somebody who calls the API: with a credential, or logged in by session."""

    def __init__(self, token: str | None = None, user: Any = None) -> None:
        self.client = Client(raise_request_exception=False)
        self.headers = bearer(token) if token else {}
        if user is not None:
            self.client.force_login(user)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = b"" if body is None else json.dumps(body)
        headers = self.headers | {name.replace("_", "-"): v for name, v in headers.items()}
        return self.client.generic(
            method, f"/api/{path}", data, "application/json", headers=headers
        )


@pytest.fixture
def engine(db):
    """A project, whose owner is ada."""
    return MembershipFactory(
        user__username="ada", project__slug="analytical-engine", role="owner"
    ).project


@pytest.fixture
def ada(engine):
    return engine.memberships.get(role="owner").user


@pytest.fixture
def compiler(ada):
    """Ada's other project."""
    return MembershipFactory(user=ada, project__slug="compiler", role="owner").project


@pytest.fixture
def stranger(db):
    """Somebody else, with a project of their own."""
    return MembershipFactory(user__username="eve", project__slug="eavesdropping").user


def in_days(days: float) -> Any:
    return timezone.now() + timedelta(days=days)
