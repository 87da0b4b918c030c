from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApiKeysOAuthConfig(AppConfig):
    name = "apikeys.oauth"
    label = "apikeys_oauth"
    verbose_name = _("API keys: OAuth")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from oauth2_provider.models import get_access_token_model, get_application_model

        from .. import cache, carried, upstreams, verify
        from ..access import OAUTH
        from ..http import discovery
        from ..keys import inventory
        from ..lifecycle import locking
        from ..lifecycle import people as people_of_core
        from ..management import pruning
        from ..reach import deciding, sources
        from ..web import unused
        from . import (  # noqa: F401
            chains,
            checks,
            counts,
            events,
            people,
            reach,
            resolver,
            unused_clients,
            upstream,
        )
        from .models import Consent, TokenOrigin
        from .pages import links
        from .views import metadata

        verify.register(resolver.resolve, resolver.recall)
        upstreams.register(upstream.are_active_clients)
        locking.register(OAUTH, resolver.renew)
        carried.register(OAUTH, resolver.recheck)
        pruning.register(unused_clients.prune)
        discovery.register(discovery.Metadata(metadata.resource_url, metadata.describe))
        sources.register(reach.entries)
        deciding.register(reach.lock)
        inventory.register("oauth", counts.LABELS, counts.count)
        people_of_core.register(people.withdraw)
        unused.register(links.authorized)
        chains.connect()
        events.connect()
        cache.watch(get_access_token_model(), get_application_model(), Consent)
        # The row of an origin is deleted together with its token, which is watched.
        cache.watch(TokenOrigin, deletions=False)
