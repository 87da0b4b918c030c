"""Report a replica for lists (``LISTS_FROM``) that would never be read."""

from collections.abc import Sequence

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register
from django.db import DEFAULT_DB_ALIAS, router

from ..conf import app_settings
from ..conf.replicas import replica_settings
from ..databases import tenants
from ..models import KEY_MODELS


@register("apikeys")
def check_replica(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: object
) -> list[CheckMessage]:
    if replica_settings.LISTS_FROM is None:
        return []
    has_tenants = app_settings.PARTITION is not None or tenants.engine_with_schemas()
    aliases = {router.db_for_write(model) for model in KEY_MODELS.values()}
    if aliases == {DEFAULT_DB_ALIAS} and not has_tenants:
        return []
    return [
        Error(
            "APIKEYS['LISTS_FROM'] is set, but the keys are in another database than 'default', or "
            "in one schema for each tenant.",
            hint="Remove LISTS_FROM. Lists are then read from the primary.",
            id="apikeys.E029",
        )
    ]
