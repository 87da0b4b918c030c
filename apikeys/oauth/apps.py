from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApiKeysOAuthConfig(AppConfig):
    name = "apikeys.oauth"
    label = "apikeys_oauth"
    verbose_name = _("API keys: OAuth")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from oauth2_provider.models import get_access_token_model, get_application_model

        from .. import cache, carried, verify
        from ..access import OAUTH
        from ..lifecycle import locking
        from . import chains, checks, resolver, upstream  # noqa: F401
        from .models import Consent, TokenOrigin

        verify.register(resolver.resolve, resolver.recall)
        verify.register_upstream(upstream.are_active_clients)
        locking.register(OAUTH, resolver.renew)
        carried.register(OAUTH, resolver.recheck)
        chains.connect()
        cache.watch(get_access_token_model(), get_application_model(), Consent)
        # The row of an origin is deleted together with its token, which is watched.
        cache.watch(TokenOrigin, deletions=False)
