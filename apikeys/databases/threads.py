"""Use the database in threads that serve no request of Django's handlers."""

from typing import Any

from django.db import close_old_connections
from django.views.decorators.debug import sensitive_variables


@sensitive_variables()
def connected(function: Any, *arguments: Any) -> Any:
    """Call ``function`` with usable database connections, as Django does for each request."""
    close_old_connections()
    try:
        return function(*arguments)
    finally:
        close_old_connections()
