from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _


class ApiKeysConfig(AppConfig):
    name = "apikeys"
    verbose_name = _("API keys")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import audit, cache, carried, checks, mail  # noqa: F401
        from .cache import checks as cache_checks  # noqa: F401
        from .checks import mail as mail_checks  # noqa: F401
        from .checks import (  # noqa: F401
            migrations,
            pages,
            projects,
            relations,
            replicas,
            timeouts,
            workloads,
        )
        from .drf import checks as view_checks  # noqa: F401
        from .http import cors
        from .importing import live as live_keys
        from .legacy import checks as legacy_checks  # noqa: F401
        from .legacy import verify as legacy
        from .lifecycle import descendants, people, reuse
        from .reach import deciding
        from .signatures import checks as signature_checks  # noqa: F401
        from .web import sudo  # noqa: F401 - remembers log-ins from the first one on

        audit.connect()
        descendants.connect()
        reuse.connect()
        people.connect()
        mail.connect()
        deciding.connect()
        cache.start()
        carried.start()
        legacy.start()
        live_keys.start()
        cors.start()

        if apps.is_installed("oauth2_provider"):
            from .drf import dot

            dot.register()
        if apps.is_installed("drf_spectacular"):
            from .api import schema as api_schema  # noqa: F401
            from .drf import schema  # noqa: F401
