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
        # As docs/how-to/many-workers.md has them.
        "OPTIONS": {
            "connect_timeout": 2,
            "tcp_user_timeout": 2000,
            "options": "-c statement_timeout=5000",
        },
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,  # or a connection that died costs its next request a 503
    }
if file := os.environ.get("SERVER_SQLITE"):
    # As `startproject` has it.
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": file}}
    if statement := os.environ.get("SERVER_SQLITE_INIT"):
        DATABASES["default"]["OPTIONS"] = {"init_command": statement}
APIKEYS = {**APIKEYS, "LAST_USED_INTERVAL": 1}  # noqa: F405
if location := os.environ.get("SERVER_REDIS"):
    APIKEYS["CACHE"] = {"LOCATION": location}
    if timeout := os.environ.get("SERVER_CACHE_TIMEOUT"):
        APIKEYS["CACHE"]["TIMEOUT"] = int(timeout)
ROOT_URLCONF = "tests.server_urls"
ALLOWED_HOSTS = ["127.0.0.1"]
if folder := os.environ.get("SERVER_MAIL"):
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = folder
