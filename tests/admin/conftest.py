from typing import Any

import pytest
from django.contrib.auth.models import Permission

from apikeys.models import KEY_MODELS
from tests.factories import UserFactory

TOKENS = "/admin/apikeys/personalaccesstoken/"
KEYS = "/admin/apikeys/projectkey/"


@pytest.fixture
def staff(db):
    """Return a function that creates a staff user with the given permissions on keys."""

    def staff(*actions: str, **fields: Any) -> Any:
        user = UserFactory(is_staff=True, **fields)
        names = [f"{a}_{m._meta.model_name}" for a in actions for m in KEY_MODELS.values()]
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        return user

    return staff


@pytest.fixture
def root(client, db):
    """A superuser, logged in."""
    user = UserFactory(username="root", is_staff=True, is_superuser=True)
    client.force_login(user)
    return user


def mint_form(**changes: Any) -> dict[str, Any]:
    """Return the form data of a new personal access token. Omit the fields that are ``None``."""
    form = {
        "name": "laptop",
        "scopes": ["payments:read"],
        "all_projects": "on",
        "expires_at_0": "2035-01-31",
        "expires_at_1": "12:00:00",
    } | changes
    return {name: value for name, value in form.items() if value is not None}
