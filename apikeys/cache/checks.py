"""System checks of ``CACHE``."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from ..conf import CACHE_DEFAULTS, AppSettings, app_settings
from ..conf.rules import Rule, is_redis_url, text, whole
from ..databases import tenants

_RULES: Final[Mapping[str, tuple[str, Rule[Any]]]] = {
    "TIMEOUT": ("apikeys.E021", whole(1)),
    "MAX_ENTRIES": ("apikeys.E021", whole(1)),
    "KEY_PREFIX": ("apikeys.E024", text("text", "(?s:.*)")),
}


@register("apikeys")
def check_cache(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    given = AppSettings.CACHE.given()
    return [] if given is None or AppSettings.CACHE.error() else list(_check(given))


def _check(given: Any) -> Iterator[CheckMessage]:
    if app_settings.PARTITION is None and (engine := tenants.engine_with_schemas()):
        yield Error(
            f"APIKEYS['CACHE'] cannot be used with {engine}, which gives each tenant a schema.",
            hint="Set PARTITION, for example to 'apikeys.contrib.tenants.SchemaPartition', or "
            "remove CACHE.",
            id="apikeys.E026",
        )
    config = {**CACHE_DEFAULTS, **given}
    for name, (id_, rule) in _RULES.items():
        if rule.why_not(config[name]) is not None:
            yield Error(
                f"APIKEYS['CACHE'][{name!r}] is invalid. It must be {rule.words}.",
                hint=f"Omit it for the default, {CACHE_DEFAULTS[name]!r}.",
                id=id_,
            )
    if config["LOCATION"] in (None, ""):
        if "TIMEOUT" not in given:
            yield Error(
                "APIKEYS['CACHE'] has neither LOCATION nor TIMEOUT. A revoked key would keep "
                "working in other processes for too long.",
                hint="Set LOCATION to the URL of a Redis, or set a limit: {'TIMEOUT': 5} is 5 "
                "seconds.",
                id="apikeys.E022",
            )
    elif find_spec("redis") is None:
        yield Error(
            "APIKEYS['CACHE'] has a LOCATION, but redis-py is not installed.",
            hint='Install it with `pip install "apikeys[redis]"`.',
            id="apikeys.E023",
        )
    elif not is_redis_url(config["LOCATION"]):
        yield Error(
            # Do not show the value, which may contain a password.
            "APIKEYS['CACHE']['LOCATION'] is not the URL of a Redis.",
            hint="Write it as redis://127.0.0.1:6379/0, rediss://… with TLS, or unix://….",
            id="apikeys.E025",
        )
