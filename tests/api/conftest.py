import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.factories import MembershipFactory, bearer


class Caller:
    """Call the API with a credential or a session."""

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
def compiler(ada):
    """A second project of ada."""
    return MembershipFactory(user=ada, project__slug="compiler", role="owner").project


@pytest.fixture
def stranger(db):
    """Another user, with another project."""
    return MembershipFactory(user__username="eve", project__slug="eavesdropping").user


def in_days(days: float) -> Any:
    return timezone.now() + timedelta(days=days)
