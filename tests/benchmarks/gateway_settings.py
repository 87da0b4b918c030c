"""The site of ``tests.benchmarks.gateway``, as the environment of a server process has it."""

import json
import os

from tests.settings import *  # noqa: F403

if name := os.environ.get("BENCHMARK_DATABASE"):  # a server process finds what was made for it
    DATABASES["default"]["NAME"] = name  # noqa: F405
DATABASES["default"]["CONN_MAX_AGE"] = None  # noqa: F405
LOGGING_CONFIG = None
APIKEYS = {**APIKEYS, "LAST_USED_INTERVAL": 5}  # noqa: F405
APIKEYS |= json.loads(os.environ.get("BENCHMARK_APIKEYS", "{}"))
ROOT_URLCONF = "example_project.urls"
