"""A site with a schema for each tenant, by django-tenants on PostgreSQL."""

import os

from example_project.settings import *  # noqa: F403
from tests.documents import blocks

CUSTOMERS = "tests.tenants.customers"

DATABASES = {
    "default": {
        "ENGINE": "django_tenants.postgresql_backend",
        "NAME": os.environ.get("POSTGRESQL_DATABASE", "postgres"),
        "USER": os.environ.get("POSTGRESQL_USER", "postgres"),
        "PASSWORD": os.environ.get("POSTGRESQL_PASSWORD", ""),
        "HOST": os.environ.get("POSTGRESQL_HOST", "127.0.0.1"),
        "TEST": {"NAME": "test_apikeys_tenants"},
    }
}
# The guide has the rest.
exec(blocks("docs/how-to/django-tenants.md", "python")[0].replace('"customers"', f'"{CUSTOMERS}"'))
TENANT_APPS += ["rest_framework.authtoken"]  # noqa: F405
INSTALLED_APPS += ["rest_framework.authtoken"]  # noqa: F405
ROOT_URLCONF = "tests.tenants.urls"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
APIKEYS |= {  # noqa: F405
    "SCOPES": {"payments:read": "", "keys:write": "", "keys:read": ""},
    "CACHE": {"TIMEOUT": 600},
    "LAST_USED_INTERVAL": None,
    "SIGNATURE_NONCE_CACHE": "default",
    "LEGACY": {"authtoken": {"UNTIL": "2100-01-01"}},
    "NOTICES": (),
}
APIKEYS.pop("POLICY", None)  # that of the demo
ALLOWED_HOSTS = ["*"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
MIGRATION_MODULES = {"customers": None}
