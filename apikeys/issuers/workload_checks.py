"""A system check of the options that say how to find the keys of workloads' issuers."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from ..workloads.conf import WorkloadIssuer, WorkloadSettings, workload_settings
from .conf import issuers_settings
from .entries import OPTIONS, faults

#: The audiences of workloads' tokens are this site's own.
_OPTIONS = {name: each for name, each in OPTIONS.items() if name not in ("AUDIENCES", "CLIENT_IDS")}


@register("apikeys")
def check_workload_issuers(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    return [] if WorkloadSettings.WORKLOAD_ISSUERS.error() else list(_errors())


def _errors() -> Iterator[CheckMessage]:
    for each in workload_settings.WORKLOAD_ISSUERS.values():
        if found := faults_of(each):
            yield Error(
                f"APIKEYS['WORKLOAD_ISSUERS'][{each.name!r}] is invalid. {' '.join(found)}",
                hint="Compare it with the documentation of WORKLOAD_ISSUERS.",
                id="apikeys.E123",
            )
        if each.url in (issuers_settings.ISSUERS or {}):
            yield Error(
                f"APIKEYS['WORKLOAD_ISSUERS'][{each.name!r}] is also in APIKEYS['ISSUERS'], so "
                "the token of a workload could act as a user.",
                hint="Remove it from one of them.",
                id="apikeys.E125",
            )


@lru_cache(maxsize=64)
def faults_of(issuer: WorkloadIssuer) -> list[str]:
    """Return a sentence for each fault of the options of ``issuer``. It then trusts nothing."""
    return faults(issuer.url, issuer.options, _OPTIONS)
