"""What happens to a key whose pepper is no longer known: Argon2id, once, within bounds."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error, router, transaction
from django.db.models import Model

from . import cache as rows
from . import hashing, refusals, tries
from .conf import app_settings
from .refusals import Refused
from .token import Parsed

logger = logging.getLogger("apikeys")

# Memory-hard hashes at the same time in one process; each takes 64 MiB.
_slots = threading.BoundedSemaphore(2)
_SLOT_TIMEOUT = 5.0  # seconds
_TRIES_WINDOW = 60  # seconds


def check_root(model: type[Model], pk: int, parsed: Parsed) -> bool:
    """Whether the secret has the key's root, and renew the digest if so; tens of milliseconds.

    Raises ``Refused`` (``verification_busy``) when wrong secrets of this key were tried too
    often within a minute, or too many keys are being tried at the same time.
    """
    with slot():
        hashes = model._default_manager.values_list("root", "digest", "pepper_id")
        row: tuple[str, str, str] | None = hashes.filter(pk=pk).first()
        if row is None:
            return False
        root, digest, pepper_id = row
        if not root:
            return False  # it has a public key, and no secret
        # While this one waited, another request of the holder may have renewed the digest.
        if (matches := hashing.check_digest(parsed.secret, digest, pepper_id)) is not None:
            return matches
        counter = count_try(parsed.public_id, app_settings.ARGON2_TRIES)
        if not hashing.check_root(parsed.secret, root):
            return False
        tries.give_back(counter)  # the holder's own do not count
        renew_digest(model, pk, pepper_id, parsed)
        return True


@contextmanager
def slot() -> Iterator[None]:
    """The right to compute a memory-hard hash. Raises ``Refused`` (``verification_busy``)."""
    slots = _slots
    if not slots.acquire(timeout=_SLOT_TIMEOUT):
        raise Refused(refusals.VERIFICATION_BUSY)
    try:
        yield
    finally:
        slots.release()


def count_try(name: str, most: int) -> str:
    """Count a try of ``name``; returns the counter. Raises ``Refused`` beyond ``most`` a minute."""
    number, counter = tries.count(f"argon2:{name}", _TRIES_WINDOW)
    if number > most:
        raise Refused(refusals.VERIFICATION_BUSY)
    return counter


def renew_digest(model: type[Model], pk: int, stale_pepper_id: str, parsed: Parsed) -> None:
    """Put the digest of a secret that was just found right under the current pepper.

    A database that takes no writes does not keep the holder of a right key out.
    """
    digest = hashing.make_digest(parsed.secret)
    changes: dict[str, Any] = {"digest": digest.value, "pepper_id": digest.pepper_id}
    alias = router.db_for_write(model)
    try:
        with transaction.atomic(using=alias):
            keys = model._default_manager.using(alias)
            keys.filter(pk=pk, pepper_id=stale_pepper_id).update(**changes)
        rows.forget(model(pk=pk))
    except Error:
        logger.warning("Could not renew the digest of %s.", parsed.public_id, exc_info=True)
