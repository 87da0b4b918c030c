"""The example's settings on the database that `TEST_DATABASE` names."""

import os

from example_project.settings import *  # noqa: F403

TEST_DATABASE = os.environ.get("TEST_DATABASE", "sqlite")

DATABASES = {
    "default": {
        "sqlite": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": ":memory:",
            # A file, so that threads and processes meet as they would on a disk.
            "TEST": {"NAME": os.environ.get("TEST_SQLITE_FILE", "apikeys-test.sqlite3")},
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
            },
        },
        "postgresql": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ.get("POSTGRESQL_DATABASE", "postgres"),
            "USER": os.environ.get("POSTGRESQL_USER", "postgres"),
            "PASSWORD": os.environ.get("POSTGRESQL_PASSWORD", ""),
            "HOST": os.environ.get("POSTGRESQL_HOST", "127.0.0.1"),
        },
        "mariadb": {
            "ENGINE": "django.db.backends.mysql",
            "NAME": os.environ.get("MARIADB_DATABASE", "test"),
            "USER": os.environ.get("MARIADB_USER", "root"),
            "PASSWORD": os.environ.get("MARIADB_PASSWORD", ""),
            "HOST": os.environ.get("MARIADB_HOST", "127.0.0.1"),
            "OPTIONS": {"charset": "utf8mb4"},
        },
    }[TEST_DATABASE]
}

# Login is not what the suite is about; the hashes of keys stay as they are.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Whose keys are imported: the real packages, with their own tables, and a site's own models.
INSTALLED_APPS = [
    *INSTALLED_APPS,  # noqa: F405
    "rest_framework.authtoken",
    "knox",
    "rest_framework_api_key",
    "tests.legacy.billing",
]

SILENCED_SYSTEM_CHECKS = ["apikeys.W052"]  # they stay beside; tests of the check call it

APIKEYS = {**APIKEYS, "LAST_USED_INTERVAL": None}  # noqa: F405 - tests flush by hand
APIKEYS.pop("POLICY", None)  # that of the demo

ROOT_URLCONF = "tests.urls"

if os.environ.get("TEST_REPLICA"):
    DATABASE_ROUTERS = ["tests.replica.Router"]
