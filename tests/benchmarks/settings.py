import os

from tests.settings import *  # noqa: F403

ALLOWED_HOSTS = ["testserver", "127.0.0.1"]
LOGGING_CONFIG = None
ROOT_URLCONF = "tests.benchmarks.contenders"
MIDDLEWARE = []
# A key that is as long as HS256 wants it.
SECRET_KEY = "of-the-benchmark-and-of-nothing-else-" * 2
APIKEYS = {**APIKEYS, "LAST_USED_INTERVAL": 5}  # noqa: F405
# DOT as it comes, without this project's part in its own class.
OAUTH2_PROVIDER = {
    **OAUTH2_PROVIDER,  # noqa: F405
    "OAUTH2_VALIDATOR_CLASS": "oauth2_provider.oauth2_validators.OAuth2Validator",
    "OAUTH2_SERVER_CLASS": "oauthlib.oauth2.Server",
}
if location := os.environ.get("BENCHMARK_REDIS"):
    APIKEYS["CACHE"] = {"LOCATION": location}
if name := os.environ.get("BENCHMARK_DATABASE"):  # a server process finds what was made for it
    DATABASES["default"]["NAME"] = name  # noqa: F405
DATABASES["default"]["CONN_MAX_AGE"] = None  # noqa: F405 - what is measured is no connecting
if TEST_DATABASE == "postgresql" and os.environ.get("BENCHMARK_PREPARED"):  # noqa: F405
    DATABASES["default"]["OPTIONS"] = {"server_side_binding": True, "prepare_threshold": 5}  # noqa: F405
