from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _


class ApiKeysConfig(AppConfig):
    name = "apikeys"
    verbose_name = _("API keys")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import audit, cache, checks, notices  # noqa: F401
        from .drf import checks as view_checks  # noqa: F401
        from .legacy import verify as legacy
        from .web import sudo  # noqa: F401 - remembers log-ins from the first one on

        audit.connect()
        notices.connect()
        cache.start()
        legacy.start()

        if apps.is_installed("drf_spectacular"):
            from .api import schema as api_schema  # noqa: F401
            from .drf import schema  # noqa: F401
