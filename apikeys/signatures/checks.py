"""System checks: all processes must share the store of nonces."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from ..conf import AppSettings, app_settings

#: Not shared by all processes, or (``db``) of a size that other entries can exceed.
_NOT_SHARED: Final = tuple(
    f"django.core.cache.backends.{name}" for name in ("locmem", "dummy", "filebased", "db")
)


@register("apikeys")
def check_signatures(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    return [] if AppSettings.SIGNATURE_NONCE_CACHE.error() else list(_nonces())


def _nonces() -> Iterator[CheckMessage]:
    alias = app_settings.SIGNATURE_NONCE_CACHE
    if alias is None:
        if find_spec("http_message_signatures") and any(
            database.get("ATOMIC_REQUESTS") for database in settings.DATABASES.values()
        ):
            yield Warning(
                "ATOMIC_REQUESTS rolls the nonce of a failed request back, so the signed request "
                "can be replayed.",
                hint="Set APIKEYS['SIGNATURE_NONCE_CACHE'] to an entry of CACHES that uses Redis.",
                id="apikeys.W060",
            )
    elif settings.CACHES[alias].get("BACKEND", "").startswith(_NOT_SHARED):
        yield Error(
            "APIKEYS['SIGNATURE_NONCE_CACHE'] names a cache that processes do not share, or that "
            "drops entries early. A nonce could be accepted twice.",
            hint="Name an entry that uses Redis or Memcached. Use None to store nonces in the "
            "database.",
            id="apikeys.E062",
        )
