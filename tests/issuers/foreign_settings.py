"""The example as an identity provider of other sites."""

from tests.example.settings import *  # noqa: F403

APIKEYS = {
    **APIKEYS,  # noqa: F405
    "SCOPES": {**APIKEYS["SCOPES"], "openid": "Log in to other sites"},  # noqa: F405
    "AUDIENCES": ["https://api.example.com", "https://other.example.com"],
}
