"""Check a key whose pepper is no longer known by its Argon2id root, once and rate-limited."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error, connections, router
from django.db.models import Model

from .. import cache as rows
from .. import hashing, refusals
from ..conf import app_settings
from ..databases import transactions
from ..limits import attempts
from ..refusals import Refused
from ..token import Parsed

logger = logging.getLogger("apikeys")

# Maximum number of Argon2 hashes at the same time in one process. Each takes 64 MiB.
_slots = threading.BoundedSemaphore(2)
_SLOT_TIMEOUT = 5.0  # seconds
_TRIES_WINDOW = 60  # seconds


def check_root(model: type[Model], pk: int, parsed: Parsed) -> bool:
    """Return whether the secret has the key's root, and if so, renew the digest.

    Takes tens of milliseconds. Raise ``Refused`` (``verification_busy``) after too many wrong
    secrets for this key within a minute, or during too many other checks.
    """
    with slot():
        hashes = model._default_manager.values_list("root", "digest", "pepper_id")
        row: tuple[str, str, str] | None = hashes.filter(pk=pk).first()
        if row is None:
            return False
        root, digest, pepper_id = row
        if not root:
            return False  # the key has a public key and no secret
        # Another request may have renewed the digest while this one waited.
        if (matches := hashing.check_digest(parsed.secret, digest, pepper_id)) is not None:
            return matches
        counter = count_try(parsed.public_id, app_settings.ARGON2_TRIES)
        if not hashing.check_root(parsed.secret, root):
            return False
        attempts.give_back(counter)  # a right secret does not count
        renew_digest(model, pk, pepper_id, parsed)
        return True


@contextmanager
def slot() -> Iterator[None]:
    """Wait for one of the slots for Argon2. Raise ``Refused`` (``verification_busy``)."""
    slots = _slots
    if not slots.acquire(timeout=_SLOT_TIMEOUT):
        raise Refused(refusals.VERIFICATION_BUSY)
    try:
        yield
    finally:
        slots.release()


def count_try(name: str, most: int) -> str:
    """Count an attempt at ``name`` and return the counter.

    Raise ``Refused`` (``verification_busy``) after more than ``most`` within a minute.
    """
    number, counter = attempts.count_surely(f"argon2:{name}", _TRIES_WINDOW)
    if number > most:
        raise Refused(refusals.VERIFICATION_BUSY)
    return counter


def renew_digest(model: type[Model], pk: int, stale_pepper_id: str, parsed: Parsed) -> None:
    """Replace the digest of a verified secret by one under the current pepper.

    A read-only database does not refuse the key.
    """
    digest = hashing.make_digest(parsed.secret)
    changes: dict[str, Any] = {"digest": digest.value, "pepper_id": digest.pepper_id}
    alias = router.db_for_write(model)
    try:
        with transactions.atomic(model):
            keys = model._default_manager.using(alias)
            keys.filter(pk=pk, pepper_id=stale_pepper_id).update(**changes)
        rows.forget(model(pk=pk))
    except Error:
        if connections[alias].needs_rollback:
            raise  # the outer transaction cannot continue
        logger.warning("Could not renew the digest of %s.", parsed.public_id, exc_info=True)
