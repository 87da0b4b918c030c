"""System check: a site without settings for mail."""

import sys
from collections.abc import Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Info, register

from .. import mail
from ..conf import app_settings

#: The only command that prints the hint. It must not alarm you at ``runserver`` or ``migrate``.
_COMMAND: Final = "check"


@register("apikeys")
def check_mail(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    if sys.argv[1:2] != [_COMMAND]:
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
