"""A system check of the options that say how to find the keys of workloads' issuers."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from ..workloads.conf import WorkloadSettings, workload_settings
from .entries import OPTIONS, faults

#: The audiences of workloads' tokens are this site's own.
_OPTIONS = {name: each for name, each in OPTIONS.items() if name not in ("AUDIENCES", "CLIENT_IDS")}


@register("apikeys")
def check_workload_issuers(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    if WorkloadSettings.WORKLOAD_ISSUERS.error():
        return []
    return [
        Error(
            f"APIKEYS['WORKLOAD_ISSUERS'][{each.name!r}] is invalid. {' '.join(found)}",
            hint="Compare it with the documentation of WORKLOAD_ISSUERS.",
            id="apikeys.E123",
        )
        for each in workload_settings.WORKLOAD_ISSUERS.values()
        if (found := faults(each.url, each.options, _OPTIONS))
    ]
