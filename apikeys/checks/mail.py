"""System check: a site without settings for mail."""

import sys
from collections.abc import Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Info, register

from .. import mail
from ..conf import app_settings

#: Commands that people run all day. They print no hint, so that it does not alarm.
_QUIET: Final = {"apikeys", "apikeys_bindings", "demo"}


@register("apikeys")
def check_mail(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    # A site in development rarely sends mail.
    if settings.DEBUG or set(sys.argv[1:2]) & _QUIET:
        return []
    if not app_settings.NOTICES or mail.is_configured():
        return []
    return [
        Info(
            "Owners of keys get no mail unless a mail server runs on this machine: the site has "
            "no settings for mail.",
            hint="Set EMAIL_HOST or EMAIL_BACKEND. To send no mail, set APIKEYS['NOTICES'] to ().",
            id="apikeys.I001",
        )
    ]
