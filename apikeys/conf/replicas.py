"""Declare the settings about replicas of the database."""

from typing import Any, Final

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS

from .rules import Rule
from .setting import Setting, Table


def _is_replica(given: Any) -> bool:
    """Return whether ``given`` is the alias of another database with the same engine."""
    databases = settings.DATABASES
    if not isinstance(given, str) or given == DEFAULT_DB_ALIAS or given not in databases:
        return False
    return bool(databases[given].get("ENGINE") == databases[DEFAULT_DB_ALIAS].get("ENGINE"))


class ReplicaSettings(Table):
    LISTS_FROM = Setting(
        None,
        Rule[str](
            "the alias of a replica of 'default' in DATABASES, with the same ENGINE", _is_replica
        ).or_none(),
        "The alias in `DATABASES` of a replica that long lists are read from, or `None` for the "
        "primary. See [lists from a replica](../how-to/many-workers.md#read-lists-from-a-replica).",
        check="E028",
        hint="Omit it to read lists from the primary.",
    )


replica_settings: Final = ReplicaSettings()
