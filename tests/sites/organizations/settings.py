"""Organizations of django-organizations are the projects."""

from tests.sites.settings import *  # noqa: F403
from tests.sites.settings import APIKEYS, INSTALLED_APPS

INSTALLED_APPS.insert(-1, "organizations")
APIKEYS_PROJECT_MODEL = "organizations.Organization"
APIKEYS["POLICY"] = "tests.sites.organizations.policy.OrganizationPolicy"
