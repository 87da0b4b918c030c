from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApiKeysOAuthConfig(AppConfig):
    name = "apikeys.oauth"
    label = "apikeys_oauth"
    verbose_name = _("API keys: OAuth")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .. import verify
        from . import checks, permissions, resolver  # noqa: F401

        verify.register(resolver.resolve)
        permissions.register()
