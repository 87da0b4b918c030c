"""The settings of the example, with one metadata document instead of the internet's."""

from example_project.settings import *  # noqa: F403
from example_project.settings import OAUTH2_PROVIDER

OAUTH2_PROVIDER = OAUTH2_PROVIDER | {"CIMD_METADATA_FETCHER": "tests.mcp.document.Fetcher"}
