"""The subcommands that this app adds to ``manage.py apikeys``, one module each.

``apikeys.management.subcommands`` finds them by the name in the app's configuration.
"""

from typing import Any, Final

from . import deny

#: By name, in the order of ``--help``.
SUBCOMMANDS: Final[dict[str, Any]] = {"deny": deny}
