"""A site with a user model of its own, and without Django's admin."""

import os

from example_project.settings import *  # noqa: F403

_WITHOUT = {"example_project.payments", "django.contrib.admin", "oauth2_provider", "apikeys.oauth"}
INSTALLED_APPS = [
    "tests.own_user.people",
    *(app for app in INSTALLED_APPS if app not in _WITHOUT),  # noqa: F405
]
AUTH_USER_MODEL = "people.Person"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
ROOT_URLCONF = "tests.own_user.urls"
APIKEYS = {**APIKEYS, "LAST_USED_INTERVAL": None}  # noqa: F405
APIKEYS.pop("POLICY", None)  # that of the demo

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("OWN_USER_DATABASE", ":memory:"),
    }
}

TEMPLATES = [{**TEMPLATES[0], "DIRS": []}]  # noqa: F405 - not those of the demo
