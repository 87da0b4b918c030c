"""For processes that a test starts: its database, or one of its own, and its cache."""

import os

from tests.settings import *  # noqa: F403

if name := os.environ.get("SERVER_DATABASE"):
    DATABASES["default"]["NAME"] = name  # noqa: F405
if port := os.environ.get("SERVER_DATABASE_PORT"):
    DATABASES["default"] |= {  # noqa: F405
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "USER": "postgres",
        "PORT": port,
        "OPTIONS": {"connect_timeout": 2},
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,  # or a connection that died costs its next request a 503
    }
APIKEYS = {**APIKEYS, "LAST_USED_INTERVAL": 1}  # noqa: F405
if location := os.environ.get("SERVER_REDIS"):
    APIKEYS["CACHE"] = {"LOCATION": location}
ROOT_URLCONF = "tests.server_urls"
ALLOWED_HOSTS = ["127.0.0.1"]
