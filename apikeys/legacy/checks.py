"""System checks of ``LEGACY``: each scheme is valid and has not ended."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Warning, register

from ..conf import AppSettings, app_settings
from ..conf.documentation import page
from . import live, schemes


@register("apikeys")
def check_legacy(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    found = [message for each in app_settings.LEGACY.items() for message in _check(*each)]
    return [*found, *_undecided()]


#: The app of each package.
_APPS: Final = {
    "authtoken": "rest_framework.authtoken",
    "knox": "knox",
    "drf-api-key": "rest_framework_api_key",
}


def _undecided() -> Iterator[CheckMessage]:
    for scheme, app in _APPS.items():
        if apps.is_installed(app) and scheme not in app_settings.LEGACY:
            yield Warning(
                f"{app} is still installed, and APIKEYS['LEGACY'] does not say what happens to its "
                "keys. The settings pages and the admin of apikeys cannot revoke them.",
                hint=f"Set LEGACY[{scheme!r}], with LIVE while the package still creates keys, or "
                "without it after you imported them once. Or remove the app, or silence this "
                "check. See "
                f"{page('how-to/import-keys', 'while-the-old-package-still-creates-keys')}",
                id="apikeys.W052",
            )


def _check(name: str, given: Any) -> Iterator[CheckMessage]:
    try:
        scheme = schemes.parse(name, given)
        if not scheme.is_over():
            live.check_table(name)  # each request with a key would end in an error
    except (TypeError, ValueError) as error:
        setting = AppSettings.LEGACY
        yield Error(f"APIKEYS['LEGACY']: {error}", hint=setting.hint, id=setting.check)
        return
    if scheme.is_over():
        yield Warning(
            f"APIKEYS['LEGACY'][{name!r}] ended on {scheme.until}. Its keys are refused.",
            hint="Remove the entry or set a later UNTIL.",
            id="apikeys.W051",
        )
