"""Decide which exceptions are outages, to be answered with 503 and ``Retry-After``.

All adapters and endpoints use this. A missing table or an invalid query is a bug and stays a
500, whatever exception class the driver raises.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from .. import refusals
from ..refusals import Refusal, Refused

logger = logging.getLogger("apikeys")


class Reason(Enum):
    """Why a request cannot be answered right now. The value is part of a log message."""

    AWAY = "the database cannot be reached"
    READ_ONLY = "the database accepts no writes"
    FULL = "the disk of the database is full"
    TIMEOUT = "the database took too long, or a row stayed locked"
    SERIALIZATION_FAILURE = "of a serialization failure"
    DEADLOCK = "of a deadlock"
    STORE = "the cache cannot be used"
    BUSY = "the server is busy"

    @property
    def is_retryable(self) -> bool:
        """Whether the same transaction may succeed if it is repeated at once."""
        return self in (Reason.SERIALIZATION_FAILURE, Reason.DEADLOCK)


def reason(error: BaseException | None) -> Reason | None:
    """Return why ``error`` means "unavailable"; ``None`` for a bug or another refusal."""
    if isinstance(error, Refused):
        return Reason.BUSY if error.refusal.status == 503 else None
    if isinstance(error, (DatabaseError, InterfaceError)):
        return _of_database(error)
    # Raised by a cache, or by another server such as one that the policy calls.
    if isinstance(error, (ConnectionError, TimeoutError)) or _is_of_redis(error):
        return Reason.STORE
    return None


def refusal(error: BaseException | None) -> Refusal | None:
    """Return the refusal for an outage, and log it; ``None`` if ``error`` is a bug."""
    if (why := reason(error)) is None:
        return None
    if isinstance(error, Refused):
        return error.refusal
    logger.error("A request was answered with 503, because %s: %s", why.value, error)
    return refusals.TEMPORARILY_UNAVAILABLE


def in_view(error: BaseException | None) -> Refusal | None:
    """Return the refusal for a database outage in a view that accepted a credential.

    With the credential in the cache, the view is the first to need the database. Other outages
    in a view are left to the site. The writes of the request are rolled back.
    """
    if not isinstance(error, (DatabaseError, InterfaceError)):
        return None
    if (found := refusal(error)) is not None:
        logger.error("The error was raised in a view.", exc_info=error)
        roll_back()
    return found


def roll_back() -> None:
    """Roll back the writes of the request if it is one transaction (``ATOMIC_REQUESTS``)."""
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict.get("ATOMIC_REQUESTS") and connection.in_atomic_block:
            connection.set_rollback(True)


@contextmanager
def answer() -> Iterator[None]:
    """Raise ``Refused`` instead of the exception of an outage inside the block."""
    try:
        yield
    except Exception as error:
        refused = refusal(error)
        if refused is None or isinstance(error, Refused):
            raise
    else:
        return
    raise Refused(refused)


def _of_database(error: DatabaseError | InterfaceError) -> Reason | None:
    # The cause of Django's exception is the driver's.
    cause: Any = error.__cause__ or error
    if (code := getattr(cause, "sqlite_errorcode", None)) is not None:
        return _SQLITE_EXTENDED.get(code) or _SQLITE.get(code & 0xFF)
    if state := getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None):
        return _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2])
    if type(cause).__module__.startswith("MySQLdb") and cause.args:
        number = cause.args[0]
        if isinstance(number, int) and number:
            return Reason.AWAY if 2000 <= number < 3000 else _MARIADB.get(number)
    # Without a code, the connection was refused or lost.
    return Reason.AWAY if isinstance(error, (OperationalError, InterfaceError)) else None


def _is_of_redis(error: BaseException | None) -> bool:
    """Return whether ``error`` says that Redis or Valkey is away or accepts no writes."""
    for name in ("redis", "valkey"):
        # Do not import the client: if it is not loaded, it cannot have raised the error.
        exceptions: Any = sys.modules.get(f"{name}.exceptions")
        if exceptions is None:
            continue
        if isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError)):
            return True
        if isinstance(error, exceptions.ResponseError):
            classes = tuple(filter(None, (getattr(exceptions, each, None) for each in _REDIS)))
            return isinstance(error, classes) or str(error).startswith(_REDIS_CODES)
    return False


# Primary result codes (https://sqlite.org/rescode.html). SQLITE_ERROR, such as a missing table,
# is a bug.
_SQLITE: Final[Mapping[int, Reason]] = {
    3: Reason.READ_ONLY,  # PERM
    5: Reason.TIMEOUT,  # BUSY
    6: Reason.TIMEOUT,  # LOCKED
    7: Reason.AWAY,  # NOMEM
    8: Reason.READ_ONLY,
    9: Reason.TIMEOUT,  # INTERRUPT
    10: Reason.AWAY,  # IOERR
    13: Reason.FULL,
    14: Reason.AWAY,  # CANTOPEN
    15: Reason.TIMEOUT,  # PROTOCOL: the WAL is locked
}
_SQLITE_EXTENDED: Final[Mapping[int, Reason]] = {517: Reason.SERIALIZATION_FAILURE}  # BUSY_SNAPSHOT

# SQLSTATEs, or whole classes of them (PostgreSQL documentation, appendix A).
_POSTGRESQL: Final[Mapping[str, Reason]] = {
    "08": Reason.AWAY,
    "25006": Reason.READ_ONLY,
    "25P03": Reason.TIMEOUT,
    "25P04": Reason.TIMEOUT,
    "28": Reason.AWAY,
    "40": Reason.SERIALIZATION_FAILURE,
    "40P01": Reason.DEADLOCK,
    "53": Reason.AWAY,
    "53100": Reason.FULL,
    "55006": Reason.TIMEOUT,
    "55P03": Reason.TIMEOUT,
    "57": Reason.AWAY,
    "57014": Reason.TIMEOUT,
    "58": Reason.AWAY,
}

# Error numbers of MariaDB and MySQL. Client errors, from 2000 on, all mean "away". Numbers that
# are missing here, such as an unknown column, are bugs even if the driver calls them operational.
_MARIADB: Final[Mapping[int, Reason]] = {
    **dict.fromkeys((3, 20, 1021, 1114), Reason.FULL),
    **dict.fromkeys((1290, 1792, 1836), Reason.READ_ONLY),
    **dict.fromkeys((1205, 1317, 1969, 3024), Reason.TIMEOUT),
    **dict.fromkeys((1020, 1412), Reason.SERIALIZATION_FAILURE),
    1213: Reason.DEADLOCK,
    **dict.fromkeys(
        (
            *(1037, 1038, 1041, 1135, 1206, 1637),  # out of memory, threads or locks
            *(1040, 1203, 1226),  # at the limit of connections
            *(1042, 1043, 1044, 1045, 1049, 1129, 1130, 1698),  # the connection was refused
            *(1047, 1053, 1077, 1079, 1080, 1152, 1184, 1927, 4031),  # the connection ended
            *range(1153, 1162),  # the network
        ),
        Reason.AWAY,
    ),
}

# Errors of Redis by class, and by code if the client has no class for it.
_REDIS: Final = (
    "ReadOnlyError", "OutOfMemoryError", "NoPermissionError", "ClusterDownError",
    "MasterDownError",
)  # fmt: skip
_REDIS_CODES: Final = ("MISCONF", "NOREPLICAS", "CLUSTERDOWN", "MASTERDOWN", "OOM")
