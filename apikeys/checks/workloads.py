"""System checks of workloads: valid issuers, the URL of the site, and the app for tokens."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, register

from ..workloads.conf import WorkloadSettings, audiences, workload_settings


@register("apikeys")
def check_workloads(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    return [*WorkloadSettings.errors()] or list(_workloads())


def _workloads() -> Iterator[CheckMessage]:
    issuers = workload_settings.WORKLOAD_ISSUERS.values()
    if lacking := [each.name for each in issuers if not audiences(each)]:
        yield Error(
            f"APIKEYS['WORKLOAD_ISSUERS'] has {', '.join(lacking)}, but this site has no URL, "
            "which tokens of workloads must name as their audience.",
            hint="Set APIKEYS['SITE_URL'] to, for example, 'https://acme.example'.",
            id="apikeys.E122",
        )
    if issuers and not apps.is_installed("apikeys.issuers"):
        yield Error(
            "APIKEYS['WORKLOAD_ISSUERS'] needs the app that verifies tokens.",
            hint='Run `pip install "apikeys[issuers]"`, and add apikeys.issuers to INSTALLED_APPS.',
            id="apikeys.E124",
        )
