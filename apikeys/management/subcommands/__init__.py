"""The subcommands of ``manage.py apikeys``, a module each.

A module has ``HELP``, a sentence, perhaps ``MORE`` of them, ``add_arguments(parser)`` and
``handle(terminal, **options)``.
"""

from typing import Any, Final

from . import (
    approve,
    audit,
    audit_policy,
    edit,
    import_,
    list,
    mint,
    notify,
    prune,
    reject,
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
    "revoke": revoke,
    "audit": audit,
    "prune": prune,
    "notify": notify,
    "edit": edit,
    "approve": approve,
    "reject": reject,
    "audit-policy": audit_policy,
    "verify": verify,
    "import": import_,
}
