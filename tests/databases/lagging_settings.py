"""A site that sends every read to a replica which lags, as far as its router decides."""

import os

from tests.server_settings import *  # noqa: F403

DATABASES["replica"] = DATABASES["default"] | {"PORT": os.environ["REPLICA_PORT"]}  # noqa: F405
DATABASE_ROUTERS = ["tests.databases.lagging.Router"]
APIKEYS["POLICY"] = "tests.databases.lagging.WithSuspensions"  # noqa: F405
if alias := os.environ.get("SITE_LISTS_FROM"):
    APIKEYS["LISTS_FROM"] = alias  # noqa: F405
