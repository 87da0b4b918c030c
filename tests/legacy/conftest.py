"""Keys as the real packages make and store them, and the site that takes them over."""

from datetime import date, timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import path
from django.utils import timezone

from apikeys.legacy import verify as legacy_verify
from tests.factories import MembershipFactory, ProjectFactory
from tests.management.conftest import apikeys  # noqa: F401
from tests.server_urls import Plain
from tests.test_http import api, plain, plain_async

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
def as_after_a_start():
    """No try was counted, and nothing weak was found."""
    cache.clear()
    legacy_verify._found.clear()


@pytest.fixture
def takes(settings):
    """Have the site take these schemes: ``takes(knox=…)`` is a day, or a whole dictionary."""

    def takes(**schemes):
        legacy = {
            name.replace("_", "-"): {"UNTIL": given} if isinstance(given, date) else given
            for name, given in schemes.items()
        }
        settings.APIKEYS = {**settings.APIKEYS, "LEGACY": legacy}

    return takes


@pytest.fixture
def ada(db):
    member = MembershipFactory(user__username="ada", project__slug="engine", role="owner")
    return member.user


@pytest.fixture
def project(db):
    return ProjectFactory(slug="shop")


@pytest.fixture
def get():
    """What an API answers to these headers: the status, and the refusal or the key's id."""

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
