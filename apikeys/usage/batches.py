"""Write notes from memory, place by place, and keep those that could not be written."""

import logging
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from django.db import ProgrammingError

from ..databases import tenants

logger = logging.getLogger("apikeys")

#: The key and the notes of one place.
P = TypeVar("P")
N = TypeVar("N")


def flush(
    lock: AbstractContextManager[Any],
    pending: MutableMapping[P, N],
    place_of: Callable[[P], tenants.Place],
    write: Callable[[P, N], None],
    put_back: Callable[[P, N], None],
) -> list[N]:
    """Take all notes from ``pending``, ``write`` them, and return what was written.

    If that fails, ``put_back`` returns the unwritten notes to ``pending``, under ``lock``, and
    the error is raised. The notes of a deleted tenant are dropped.
    """
    with lock:
        batches = dict(pending)
        pending.clear()
    written = []
    while batches:
        key, notes = batches.popitem()
        place = place_of(key)
        try:
            with tenants.entered(place):
                write(key, notes)
        except BaseException as error:
            if place.schema and isinstance(error, ProgrammingError):
                logger.warning("Dropped the uses of a deleted tenant: %s.", place.schema)
                continue
            with lock:
                for unwritten, its_notes in [(key, notes), *batches.items()]:
                    put_back(unwritten, its_notes)
            raise
        written.append(notes)
    return written
