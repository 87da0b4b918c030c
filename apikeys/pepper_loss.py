"""What happens to a key whose pepper is no longer known: Argon2id, once, within bounds."""

import logging
import threading
from typing import Any

from django.core.cache import cache
from django.db import DatabaseError, router, transaction
from django.db.models import Model

from . import cache as rows
from . import hashing, refusals
from .conf import app_settings
from .refusals import Refused
from .token import Parsed

logger = logging.getLogger("apikeys")

# Memory-hard hashes at the same time in one process; each takes 64 MiB.
_slots = threading.BoundedSemaphore(2)
_SLOT_TIMEOUT = 5.0  # seconds
_TRIES_WINDOW = 60  # seconds


def check_root(model: type[Model], pk: int, parsed: Parsed) -> bool:
    """Whether the secret has the key's root; tens of milliseconds.

    Raises ``Refused`` (``verification_busy``) when this key was tried too often within a
    minute, or too many keys are being tried at the same time.
    """
    counter = f"apikeys:argon2:{parsed.public_id}"
    cache.add(counter, 0, _TRIES_WINDOW)
    try:
        tries = cache.incr(counter)
    except ValueError:  # it ran out between the two lines
        tries = 1
    if tries > app_settings.ARGON2_TRIES or not _slots.acquire(timeout=_SLOT_TIMEOUT):
        raise Refused(refusals.VERIFICATION_BUSY)
    try:
        root: str = model._default_manager.values_list("root", flat=True).get(pk=pk)
        return hashing.check_root(parsed.secret, root)
    finally:
        _slots.release()


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
    except DatabaseError:
        logger.warning("Could not renew the digest of %s.", parsed.public_id, exc_info=True)
