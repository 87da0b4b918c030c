"""The subcommands of ``manage.py apikeys_bindings``, one module each.

How a CSV file becomes bindings lives in ``apikeys.gateway.imports``.
"""

from typing import Any, Final

from . import add, import_, list, remove

#: By name, in the order of ``--help``.
SUBCOMMANDS: Final[dict[str, Any]] = {
    "import": import_,
    "add": add,
    "remove": remove,
    "list": list,
}
