"""System check: the parts of the bridge that need each other are both there."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register
from oauth2_provider.settings import oauth2_settings


@register("apikeys")
def check_validator(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    from .server import Server
    from .validators import Validator

    validator, server = oauth2_settings.OAUTH2_VALIDATOR_CLASS, oauth2_settings.OAUTH2_SERVER_CLASS
    if issubclass(server, Server) and not issubclass(validator, Validator):
        return [
            Error(
                "OAUTH2_PROVIDER['OAUTH2_VALIDATOR_CLASS'] is not apikeys.oauth's, so nothing "
                "holds the access tokens of keys to their keys.",
                hint="Say 'apikeys.oauth.validators.Validator', or a subclass of it.",
                id="apikeys.E070",
            )
        ]
    return []
