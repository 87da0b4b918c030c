"""Read a time that all servers of a site agree on."""

from datetime import datetime, timedelta
from typing import Final

from django.db import connections, router
from django.db.models import Model
from django.utils import timezone

from .. import moments

# Seconds since 1970 do not depend on drivers or on the time zone of the session.
_QUERIES: Final = {
    "mysql": "SELECT UNIX_TIMESTAMP(NOW(6))",
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400",
}

# SQLite's time has milliseconds only. A smaller difference is not a difference.
_PRECISION: Final = timedelta(seconds=1)


def now(model: type[Model]) -> datetime:
    """Return the earlier of this server's time and the database's. Takes one query.

    So a server with a fast clock writes no future times and deletes nothing too early.
    """
    here = timezone.now()
    connection = connections[router.db_for_write(model)]
    if (query := _QUERIES.get(connection.vendor)) is None:
        return here
    with connection.cursor() as cursor:
        cursor.execute(query)
        (seconds,) = cursor.fetchone()
    there = moments.at(float(seconds))
    return there if here - there > _PRECISION else here
