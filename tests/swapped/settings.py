"""A site with projects of its own: ``teams.Team`` takes the place of ``apikeys.Project``."""

import os

from example_project.settings import *  # noqa: F403

INSTALLED_APPS = [
    "tests.swapped.teams",
    *(app for app in INSTALLED_APPS if app != "example_project.payments"),  # noqa: F405
]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
ROOT_URLCONF = "apikeys.api.urls"
APIKEYS_PROJECT_MODEL = os.environ.get("SWAPPED_MODEL", "teams.Team")
if "SWAPPED_SLUG" in os.environ:
    APIKEYS_PROJECT_SLUG_FIELD = os.environ["SWAPPED_SLUG"]
    ROOT_URLCONF = "tests.swapped.urls"
    INSTALLED_APPS.insert(0, "apikeys.gateway")
    INSTALLED_APPS = list(dict.fromkeys(INSTALLED_APPS))
if "SWAPPED_UNMIGRATED" in os.environ:
    MIGRATION_MODULES = {"teams": None}
APIKEYS = {**APIKEYS, "LAST_USED_INTERVAL": None}  # noqa: F405
APIKEYS.pop("POLICY", None)  # that of the demo

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SWAPPED_DATABASE", ":memory:"),
    }
}
