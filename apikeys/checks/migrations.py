"""Report missing migrations if a newer version of the code runs on an old database."""

import logging
import sys
from collections.abc import Sequence
from typing import Any, Final

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Tags, Warning, register
from django.core.signals import got_request_exception
from django.db import Error, OperationalError, ProgrammingError, connections, router
from django.db.migrations.exceptions import BadMigrationError
from django.db.migrations.loader import MigrationLoader

from ..conf.documentation import page
from ..databases import unavailable
from ..models import AuditEvent

logger = logging.getLogger("apikeys")

_ORDER: Final = (
    "Run `manage.py migrate` before you start workers of the new version. Workers of the old "
    f"version keep working meanwhile. See {page('how-to/upgrade', 'upgrade-without-downtime')}"
)

_was_explained = False


def pending(alias: str) -> list[str]:
    """Return the migrations of this package that are missing in the database.

    Return none for a database without any: it is new, or not used by this package.
    """
    loader = MigrationLoader(connections[alias])
    labels = {app.label for app in apps.get_app_configs() if app.name.split(".")[0] == "apikeys"}
    known = [name for name in sorted(loader.graph.nodes) if name[0] in labels]
    lacking = [name for name in known if name not in loader.applied_migrations]
    return [".".join(name) for name in lacking] if len(lacking) < len(known) else []


@register(Tags.database)
def check_migrated(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    if sys.argv[1:2] == ["migrate"]:
        return []  # the command applies them now
    return [
        Warning(
            f"The database {alias!r} lacks migrations of this version: {', '.join(names)}.",
            hint=_ORDER,
            id="apikeys.W081",
        )
        for alias in databases or ()
        if (names := _pending_or_none(alias))
    ]


def _explain(sender: Any, **kwargs: Any) -> None:
    """Log once that requests fail because the database was not migrated."""
    global _was_explained
    error = sys.exc_info()[1]
    if _was_explained or not isinstance(error, (OperationalError, ProgrammingError)):
        return
    if unavailable.reason(error) is not None:
        return
    _was_explained = True
    alias = router.db_for_write(AuditEvent)
    if names := _pending_or_none(alias):
        told = "The database %r lacks migrations of this version of apikeys: %s. %s"
        logger.error(told, alias, ", ".join(names), _ORDER)


def _pending_or_none(alias: str) -> list[str]:
    try:
        return pending(alias)
    except (Error, BadMigrationError, ImportError, ValueError):
        return []  # the database is unavailable, or the site's migrations are broken


got_request_exception.connect(_explain, dispatch_uid="apikeys.checks.migrations")
