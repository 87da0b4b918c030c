"""A site whose projects act as a user that the site chooses (``PROJECT_USER``)."""

from example_project.settings import *  # noqa: F403

INSTALLED_APPS = [
    "tests.project_user.shops",
    *(app for app in INSTALLED_APPS if app != "example_project.payments"),  # noqa: F405
]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
ROOT_URLCONF = "tests.project_user.urls"
APIKEYS_PROJECT_MODEL = "shops.Shop"
APIKEYS = {**APIKEYS, "LAST_USED_INTERVAL": None, "NOTICES": (), "PROJECT_USER": "account"}  # noqa: F405
APIKEYS.pop("POLICY", None)  # that of the demo

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
