"""The settings of one of the sites, which ``SITE`` names, as an existing site has them."""

import os
import sys

SITE = os.environ.get("SITE", "base")
FOLDER = os.environ["SITE_FOLDER"]
sys.path.insert(0, FOLDER)  # migrations of the site's own models

SECRET_KEY = "a secret of the tests that is long enough for every purpose"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.sites.urls"
STATIC_URL = "static/"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{FOLDER}/site.sqlite3",
        "OPTIONS": {"init_command": "PRAGMA synchronous=OFF"},  # it need not survive a power cut
    }
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "apikeys",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
LOGIN_URL = "/admin/login/"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["apikeys.drf.BearerAuthentication"]}
APIKEYS = {
    "PREFIX": "acme",
    "SCOPES": {"api:read": "Read", "api:write": "Write", "keys:read": "See keys"},
    "LEGACY": {"authtoken": {"UNTIL": "2099-01-01"}},
}

if SITE in ("uuid-user", "email-login", "active-property", "inherited-user", "own-project"):
    INSTALLED_APPS.insert(0, "tests.sites.people")
    MIGRATION_MODULES = {"people": "site_migrations"}
    if SITE == "own-project":
        APIKEYS_PROJECT_MODEL = "people.Team"
    else:
        AUTH_USER_MODEL = "people.User"
elif SITE == "uvicorn":
    ASGI_APPLICATION = "tests.sites.asgi.application"
elif SITE == "tokyo":
    USE_TZ, TIME_ZONE = False, "Asia/Tokyo"
elif SITE == "atomic":
    DATABASES["default"]["ATOMIC_REQUESTS"] = True
    SILENCED_SYSTEM_CHECKS = ["apikeys.W060"]  # none of its programs signs requests
    SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
elif SITE == "sub-path":
    LOGIN_URL = "/acme/admin/login/"
elif SITE == "login-required":
    MIDDLEWARE.append("django.contrib.auth.middleware.LoginRequiredMiddleware")
elif SITE == "cache":
    MIDDLEWARE.insert(0, "django.middleware.cache.UpdateCacheMiddleware")
    MIDDLEWARE.append("django.middleware.cache.FetchFromCacheMiddleware")
elif SITE == "base-template":
    TEMPLATES[0]["DIRS"] = [FOLDER]
    APIKEYS |= {"BASE_TEMPLATE": "base.html", "PAGES_CSP": "strict"}
