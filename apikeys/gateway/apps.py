from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _


class ApiKeysGatewayConfig(AppConfig):
    name = "apikeys.gateway"
    label = "apikeys_gateway"
    verbose_name = _("API keys: gateway")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .. import cache
        from . import checks, routes  # noqa: F401
        from .models import ResourceBinding

        cache.watch(ResourceBinding)

        if apps.is_installed("drf_spectacular"):
            from . import schema  # noqa: F401
