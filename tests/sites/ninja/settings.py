"""An API of django-ninja, a schema of Strawberry and websockets of Channels, under uvicorn."""

from tests.sites.settings import *  # noqa: F403

ROOT_URLCONF = "tests.sites.ninja.urls"
ASGI_APPLICATION = "tests.sites.ninja.asgi.application"
