"""A site of Wagtail with its API."""

from tests.documents import blocks
from tests.sites.settings import *  # noqa: F403
from tests.sites.settings import INSTALLED_APPS

INSTALLED_APPS += [
    "wagtail.users",
    "wagtail.images",
    "wagtail.documents",
    "wagtail.snippets",
    "wagtail.search",
    "wagtail.admin",
    "wagtail.sites",
    "wagtail.api.v2",
    "wagtail",
    "modelcluster",
    "taggit",
    "django_filters",
]
ROOT_URLCONF = "tests.sites.wagtail.urls"
WAGTAIL_SITE_NAME = "Acme"
WAGTAILADMIN_BASE_URL = "http://127.0.0.1"
MEDIA_ROOT, MEDIA_URL = f"{FOLDER}/media", "media/"  # noqa: F405
exec(blocks("docs/how-to/wagtail.md", "python")[1])
REST_FRAMEWORK = {}  # the views of the editors are for sessions
