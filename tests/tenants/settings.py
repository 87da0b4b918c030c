"""A site with a schema for each tenant, by django-tenants on PostgreSQL."""

import os

from example_project.settings import *  # noqa: F403

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
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
TENANT_MODEL, TENANT_DOMAIN_MODEL = "customers.Client", "customers.Domain"
SHARED_APPS = ["django_tenants", "tests.tenants.customers", "django.contrib.contenttypes"]
TENANT_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "rest_framework",
    "rest_framework.authtoken",
    "apikeys",
]
INSTALLED_APPS = list(dict.fromkeys([*SHARED_APPS, *TENANT_APPS]))
MIDDLEWARE = ["django_tenants.middleware.main.TenantMainMiddleware"]
ROOT_URLCONF = "tests.tenants.urls"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
APIKEYS = {
    "PREFIX": "acme",
    "SCOPES": {"payments:read": "", "keys:write": "", "keys:read": ""},
    "PARTITION": "apikeys.contrib.tenants.SchemaPartition",
    "CACHE": {"TIMEOUT": 600},
    "LAST_USED_INTERVAL": None,
    "SIGNATURE_NONCE_CACHE": "default",
    "LEGACY": {"authtoken": {"UNTIL": "2100-01-01"}},
}
ALLOWED_HOSTS = ["*"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
MIGRATION_MODULES = {"customers": None}
