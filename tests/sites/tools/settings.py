"""A site with what many sites install beside their own code: logs, history, metrics, reports."""

import structlog

from tests.sites.settings import *  # noqa: F403
from tests.sites.settings import APIKEYS, DATABASES, INSTALLED_APPS, MIDDLEWARE, TEMPLATES

DEBUG = True  # for the toolbar
INSTALLED_APPS += [
    "allauth",
    "allauth.account",
    "auditlog",
    "axes",
    "debug_toolbar",
    "django_prometheus",
    "django_structlog",
    "simple_history",
    "tests.sites.tools",
]
MIGRATION_MODULES = {"tools": "site_migrations"}
ROOT_URLCONF = "tests.sites.tools.urls"
MIDDLEWARE[:] = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "debug_toolbar.middleware.DebugToolbarMiddleware",
    *MIDDLEWARE,
    "allauth.account.middleware.AccountMiddleware",
    "auditlog.middleware.AuditlogMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "axes.middleware.AxesMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
DATABASES["default"]["ENGINE"] = "django_prometheus.db.backends.sqlite3"
TEMPLATES[0]["OPTIONS"]["context_processors"].append("django.template.context_processors.debug")
AUDITLOG_INCLUDE_ALL_MODELS = True
AXES_FAILURE_LIMIT = 3
LOGIN_URL = "/accounts/login/"
INTERNAL_IPS = ["127.0.0.1"]
APIKEYS["SUDO"] = "apikeys.web.sudo.AllauthSudo"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processor": structlog.processors.JSONRenderer(),
        }
    },
    "handlers": {
        "file": {
            "class": "logging.FileHandler",
            "filename": f"{FOLDER}/log",  # noqa: F405
            "formatter": "json",
        }
    },
    "root": {"handlers": ["file"], "level": "DEBUG"},
}
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
)
