from django.apps import AppConfig
from django.db.models.signals import post_delete
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
        from . import authorizations, checks, permissions, resolver  # noqa: F401
        from .models import Consent, TokenOrigin

        verify.register(resolver.resolve, resolver.recall)
        lifecycle.register(OAUTH, resolver.renew)
        permissions.register()
        post_delete.connect(
            authorizations.end_what_it_made, get_access_token_model(), dispatch_uid="apikeys.oauth"
        )
        cache.watch(get_access_token_model(), get_application_model(), TokenOrigin, Consent)
