"""Keys as other packages create and store them, and a site that imports them."""

import time
from datetime import date, timedelta
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import path
from django.utils import timezone

from apikeys.legacy import verify as legacy_verify
from tests.factories import ProjectFactory
from tests.http.test_http import api, plain, plain_async
from tests.management.conftest import apikeys  # noqa: F401
from tests.server_urls import Plain

urlpatterns = [
    path("drf/", Plain.as_view()),
    path("plain/", plain),
    path("async/", plain_async),
    path("ninja/", api.urls),
]
PATHS = ["/drf/", "/plain/", "/async/", "/ninja/sync", "/ninja/async"]

TOMORROW = timezone.localdate() + timedelta(days=1)
YESTERDAY = timezone.localdate() - timedelta(days=1)


@pytest.fixture(autouse=True)
def as_after_a_start(monkeypatch):
    """Clear the memory of weak keys, and stop the clock so that no window ends in a test."""
    cache.clear()
    clock = SimpleNamespace(time=lambda: 1000 * 60 + 30, monotonic=time.monotonic)
    monkeypatch.setattr("apikeys.limits.attempts.time", clock)
    legacy_verify._found.clear()


@pytest.fixture
def takes(settings):
    """Return a function that sets ``LEGACY``: ``takes(knox=…)`` takes a date or a dictionary."""

    def takes(**schemes):
        legacy = {
            name.replace("_", "-"): {"UNTIL": given} if isinstance(given, date) else given
            for name, given in schemes.items()
        }
        settings.APIKEYS = {**settings.APIKEYS, "LEGACY": legacy}

    return takes


@pytest.fixture
def project(db):
    return ProjectFactory(slug="shop")


@pytest.fixture
def get():
    """Return a function that calls the API; it returns the status with the code or key ID."""

    def get(headers, where="/plain/", **environ):
        response = Client().get(where, headers=headers, **environ)
        body = response.json()
        return response.status_code, body.get("code") or body.get("id")

    return get


def authtoken_of(user, key=None):
    from rest_framework.authtoken.models import Token

    return Token.objects.create(user=user, **({"key": key} if key else {})).key


def knox_of(user, **kwargs):
    from knox.models import get_token_model

    return get_token_model().objects.create(user=user, **kwargs)[1]


def api_key(name="server", **kwargs):
    from rest_framework_api_key.models import APIKey

    return APIKey.objects.create_key(name=name, **kwargs)[1]
