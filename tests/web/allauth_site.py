"""Settings of a site with django-allauth, for a separate process."""

from tests.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "allauth", "allauth.account"]  # noqa: F405
MIDDLEWARE = [*MIDDLEWARE, "allauth.account.middleware.AccountMiddleware"]  # noqa: F405
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
ALLOWED_HOSTS = ["testserver"]
ACCOUNT_EMAIL_VERIFICATION = "none"
LOGIN_URL = "account_login"
ROOT_URLCONF = "tests.web.allauth_urls"
APIKEYS = {**APIKEYS, "SUDO": "apikeys.web.sudo.AllauthSudo"}  # noqa: F405
