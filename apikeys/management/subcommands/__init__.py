"""The subcommands of ``manage.py apikeys``, one module each.

Arguments and output that several subcommands share live in the package above.
"""

from importlib import import_module
from typing import Any, Final

from django.apps import apps

from . import (
    access,
    allow,
    approve,
    audit,
    audit_policy,
    audit_views,
    convert,
    deny,
    edit,
    health,
    import_,
    inventory,
    list,
    mint,
    notify,
    pause,
    prune,
    reject,
    resume,
    revoke,
    rotate,
    show,
    verify,
)

#: By name, in the order of ``--help``.
SUBCOMMANDS: Final[dict[str, Any]] = {
    "mint": mint,
    "list": list,
    "show": show,
    "rotate": rotate,
    "convert": convert,
    "pause": pause,
    "resume": resume,
    "revoke": revoke,
    "access": access,
    "deny": deny,
    "allow": allow,
    "audit": audit,
    "inventory": inventory,
    "prune": prune,
    "notify": notify,
    "edit": edit,
    "approve": approve,
    "reject": reject,
    "audit-policy": audit_policy,
    "audit-views": audit_views,
    "verify": verify,
    "health": health,
    "import": import_,
}


def of_apps() -> dict[str, Any]:
    """Return the subcommands of optional apps, which name their modules in their config."""
    names = (getattr(each, "apikeys_subcommands", None) for each in apps.get_app_configs())
    return {
        name: module
        for path in names
        if path is not None
        for name, module in import_module(path).SUBCOMMANDS.items()
    }
