from tests.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "rest_framework.authtoken"]  # noqa: F405
ALLOWED_HOSTS = ["testserver"]
LOGGING_CONFIG = None
