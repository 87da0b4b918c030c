from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApiKeysOAuthConfig(AppConfig):
    name = "apikeys.oauth"
    label = "apikeys_oauth"
    verbose_name = _("API keys: OAuth")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from oauth2_provider.models import get_access_token_model, get_application_model

        from .. import cache, lifecycle, verify
        from ..access import OAUTH
        from . import checks, permissions, resolver  # noqa: F401
        from .models import Consent, TokenOrigin

        verify.register(resolver.resolve, resolver.recall)
        lifecycle.register(OAUTH, resolver.renew)
        permissions.register()
        cache.watch(get_access_token_model(), get_application_model(), TokenOrigin, Consent)
