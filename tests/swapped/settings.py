"""A site with projects of its own: ``teams.Team`` takes the place of ``apikeys.Project``."""

import os

from example_project.settings import *  # noqa: F403

INSTALLED_APPS = [
    "tests.swapped.teams",
    *(app for app in INSTALLED_APPS if app != "example_project.payments"),  # noqa: F405
]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
ROOT_URLCONF = "apikeys.api.urls"
APIKEYS_PROJECT_MODEL = "teams.Team"
APIKEYS = {**APIKEYS, "LAST_USED_INTERVAL": None}  # noqa: F405

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SWAPPED_DATABASE", ":memory:"),
    }
}
