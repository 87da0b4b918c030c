"""An API with object permissions, filters, throttles and versions in its paths."""

from tests.sites.settings import *  # noqa: F403
from tests.sites.settings import APIKEYS, INSTALLED_APPS, REST_FRAMEWORK

INSTALLED_APPS += ["guardian", "django_filters", "tests.sites.rest"]
MIGRATION_MODULES = {"rest": "site_migrations"}
ROOT_URLCONF = "tests.sites.rest.urls"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "guardian.backends.ObjectPermissionBackend",
]
REST_FRAMEWORK |= {
    "DEFAULT_PERMISSION_CLASSES": ["apikeys.drf.HasScope"],
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "rest_framework.filters.OrderingFilter",
    ],
    "DEFAULT_THROTTLE_CLASSES": ["apikeys.drf.CredentialRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"user": "1000/hour"},
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.URLPathVersioning",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 2,
}
APIKEYS["DEFAULT_SCOPES"] = {"tests.sites.rest": {"read": ["api:read"], "write": ["api:write"]}}
