"""A schema for each customer, by django-tenants on PostgreSQL."""

import os

from tests.sites.settings import *  # noqa: F403
from tests.sites.settings import APIKEYS, INSTALLED_APPS, MIDDLEWARE

TENANT_APPS = [app for app in INSTALLED_APPS if app != "django.contrib.staticfiles"]
SHARED_APPS = [
    "django_tenants",
    "tests.tenants.customers",
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
]
INSTALLED_APPS = list(dict.fromkeys([*SHARED_APPS, *TENANT_APPS]))
MIGRATION_MODULES = {"customers": "site_migrations"}
MIDDLEWARE.insert(0, "django_tenants.middleware.main.TenantMainMiddleware")
TENANT_MODEL, TENANT_DOMAIN_MODEL = "customers.Client", "customers.Domain"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
DATABASES = {
    "default": {
        "ENGINE": "django_tenants.postgresql_backend",
        "NAME": f"site_{os.getpid()}",
        "USER": os.environ.get("POSTGRESQL_USER", "postgres"),
        "PASSWORD": os.environ.get("POSTGRESQL_PASSWORD", ""),
        "HOST": os.environ.get("POSTGRESQL_HOST", "127.0.0.1"),
    }
}
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
APIKEYS["PARTITION"] = "apikeys.contrib.tenants.SchemaPartition"
