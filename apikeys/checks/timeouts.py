"""Report databases without timeouts."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Warning, register

from ..conf.documentation import page


@register("apikeys", deploy=True)
def check_timeouts(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn about a database that would block every thread if its server hangs."""
    messages: list[CheckMessage] = []
    for alias, config in settings.DATABASES.items():
        if missing := _missing_timeouts(config):
            messages.append(
                Warning(
                    f"DATABASES['{alias}'] has no timeout for a server that hangs. Set "
                    f"{', '.join(missing)}.",
                    hint="Silence this check if the database role or a proxy sets the timeouts. "
                    f"See {page('how-to/many-workers', 'set-timeouts-for-the-database')}",
                    id="apikeys.W080",
                )
            )
    return messages


def _missing_timeouts(config: Mapping[str, Any]) -> list[str]:
    vendor = str(config.get("ENGINE", "")).rpartition(".")[2]
    options = config.get("OPTIONS", {})
    if vendor == "mysql":
        wanted = ("connect_timeout", "read_timeout", "write_timeout")
        return [name for name in wanted if not options.get(name)]
    if vendor not in ("postgresql", "postgis"):
        return []
    missing = [name for name in ("connect_timeout", "tcp_user_timeout") if not options.get(name)]
    if "statement_timeout" not in str(options.get("options", "")):
        missing.append("statement_timeout")
    pool = options.get("pool")
    if pool and not (isinstance(pool, Mapping) and pool.get("timeout")):
        missing.append("the timeout of the pool")
    return missing
