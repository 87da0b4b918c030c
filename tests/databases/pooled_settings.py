"""A site whose connections go through a pool: ``POOLED`` has changes of its database as JSON."""

import json
import os

from tests.server_settings import *  # noqa: F403

DATABASES["default"] |= json.loads(os.environ["POOLED"])  # noqa: F405
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
