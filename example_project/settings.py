"""Settings of a small payments SaaS that uses `apikeys`."""

import os
from pathlib import Path

from django.utils.translation import gettext_lazy as _

from .signing import signing_key

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ.get("SECRET_KEY", "django-insecure-for-the-example-on-this-machine-only")
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

# The demo's users have a published password. `manage.py demo` turns this on for its own
# process. Everywhere else that password is refused.
DEMO = False

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",  # the files of the page /api/docs/
    "oauth2_provider",
    "apikeys",
    "apikeys.oauth",
    "apikeys.gateway",
    "apikeys.issuers",
    "example_project.payments",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "apikeys.middleware.origin_middleware",
    "apikeys.middleware.OutageMiddleware",
]

ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "example_project" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DEMO_DATABASE", BASE_DIR / "demo.sqlite3"),
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
    }
}

AUTHENTICATION_BACKENDS = ["example_project.payments.demo.DemoBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
]

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "apikeys:keys"
LOGOUT_REDIRECT_URL = "login"

# The demo has no mail server, so a mail appears in its terminal.
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
LOCALE_PATHS = [BASE_DIR / "example_project" / "locale"]
STATIC_URL = "static/"

APIKEYS = {
    "PREFIX": "acme",
    "SCOPES": {
        "payments:read": _("See payments"),
        "payments:write": _("Make payments, and see them"),
        "reports:read": _("See reports"),
        "keys:read": _("See tokens and keys"),
        "keys:write": _("Create, edit and revoke tokens and keys, and see them"),
    },
    "POLICY": "example_project.payments.policy.DemoPolicy",
    "FIRST_PARTY_CLIENTS": ["webapp"],
    # An old server without access control. See `manage.py demo --gateway`.
    "GATEWAY_ROUTES": [
        {
            "method": "GET",
            "path": "/subscribers/{subscriber_id}/offers",
            "scopes": ["payments:read"],
            "bindings": ["subscriber_id"],
        },
    ],
    "CURL_URL": "/api/payments/",
    "PRESETS": {
        "ci": {
            "label": _("CI, read only"),
            "name": "CI",
            "description": "Reads payments in the build.",
            "scopes": ["payments:read"],
            "expires": 30,
        },
        "reports": {
            "label": _("Nightly report"),
            "name": "Nightly report",
            "scopes": ["payments:read", "reports:read"],
            "expires": 90,
        },
        "agent": {
            "label": _("An agent, for an hour"),
            "name": "Agent",
            "description": "Reads one project for an agent.",
            "scopes": ["payments:read", "reports:read"],
            "projects": "selected",
            "expires": "1h",
        },
    },
}

# Signs access tokens that are JWTs. The public key is at /o/.well-known/jwks.json.
OIDC_RSA_PRIVATE_KEY = signing_key(Path(str(DATABASES["default"]["NAME"])).with_suffix(".pem"))

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apikeys.drf.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["apikeys.drf.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Acme Payments",
    "VERSION": "1",
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "TAGS": [  # first in the API docs
        {"name": "payments", "description": "The payments of your projects"},
        {"name": "projects", "description": "Your projects, and your role in them"},
        {"name": "reports", "description": "Sums of payments"},
    ],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "apikeys.drf.schema.show_scopes",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",  # no file from another server
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": False, "validatorUrl": None},
}

OAUTH2_PROVIDER = {
    "SCOPES_BACKEND_CLASS": "apikeys.oauth.scopes.Scopes",
    "OAUTH2_VALIDATOR_CLASS": "apikeys.oauth.validators.Validator",
    "OAUTH2_SERVER_CLASS": "apikeys.oauth.server.Server",
    "DCR_ENABLED": True,
    # Any program can register a client, such as an agent that its user just installed. The
    # consent page says that it is not verified.
    "DCR_REGISTRATION_PERMISSION_CLASSES": ["apikeys.oauth.registration.AnyonePermission"],
    "CIMD_ENABLED": True,
    "ALLOW_LOCALHOST_LOOPBACK": True,
    "OIDC_ENABLED": True,
    "OIDC_RSA_PRIVATE_KEY": OIDC_RSA_PRIVATE_KEY,
    "ACCESS_TOKEN_EXPIRE_SECONDS": int(os.environ.get("DEMO_ACCESS_TOKEN_SECONDS", "300")),
    "REFRESH_TOKEN_EXPIRE_SECONDS": 14 * 24 * 60 * 60,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"],
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "COMPLIANT_BCP_RFC9700_REFRESH_TOKEN": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_SCHEME": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_MATCHING": True,
    "COMPLIANT_BCP_RFC9700_PKCE_REQUIRED": True,
    # The page at `/` logs in with the password grant. `Validator` allows that grant only to
    # FIRST_PARTY_CLIENTS. This gate would turn it off for them too.
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": False,
}

DEFAULT_EXCEPTION_REPORTER = "apikeys.error_reports.ExceptionReporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "apikeys.error_reports.SafeExceptionReporterFilter"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "redact_keys": {"()": "apikeys.error_reports.RedactKeys"},
        "require_debug_false": {"()": "django.utils.log.RequireDebugFalse"},
        # Do not warn at every login that this gate is off: it is off on purpose.
        "password_grant": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: (
                "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT" not in str(record.msg)
            ),
        },
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "filters": ["redact_keys"]},
        "mail_admins": {
            "class": "django.utils.log.AdminEmailHandler",
            "level": "ERROR",
            "filters": ["require_debug_false", "redact_keys"],
        },
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        # Replaces Django's handler, which lacks the filter.
        "django": {"handlers": ["mail_admins"], "level": "INFO", "propagate": True},
        "oauth2_provider": {"filters": ["password_grant"]},
    },
}
