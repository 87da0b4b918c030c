from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApiKeysIssuersConfig(AppConfig):
    name = "apikeys.issuers"
    label = "apikeys_issuers"
    verbose_name = _("API keys: trusted issuers")
    default_auto_field = "django.db.models.BigAutoField"
    #: The module with more subcommands of ``manage.py apikeys``.
    apikeys_subcommands = "apikeys.issuers.management.subcommands"

    def ready(self) -> None:
        from .. import acceptance, cache, carried, upstreams, verify
        from ..access import EXTERNAL
        from ..lifecycle import locking
        from ..management import pruning
        from . import checks, denials, resolver, workload_checks, workloads  # noqa: F401
        from .models import Denial, Identity

        acceptance.offer(EXTERNAL)
        verify.register(workloads.resolve, workloads.recall, first=True)
        verify.register(resolver.resolve, resolver.recall, first=True)  # OAuth refuses the rest
        upstreams.register(denials.are_allowed)
        locking.register(EXTERNAL, resolver.renew)
        pruning.register(denials.prune)
        carried.register_stored(EXTERNAL, resolver.recheck)
        cache.watch(Identity, Denial)
