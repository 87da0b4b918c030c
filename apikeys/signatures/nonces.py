"""The nonces of signatures: each is good for one request, whichever process it comes to."""

import hashlib
import logging
import time
from datetime import UTC, datetime

from django.core.cache import caches
from django.db import IntegrityError, router, transaction
from django.utils import timezone

from .. import refusals
from ..conf import app_settings
from ..models import UsedNonce
from ..refusals import Refused

logger = logging.getLogger("apikeys")

_PRUNED_AT_ONCE = 1000


def use(public_id: str, nonce: str, ends: int) -> bool:
    """Whether ``nonce`` is new to this key; from now on until ``ends`` (Unix time) it is not.

    Of several at the same moment one is the first. Raises ``Refused``
    (``temporarily_unavailable``) where the cache does not answer.
    """
    digest = hashlib.sha256(f"{public_id}:{nonce}".encode()).hexdigest()
    # Longer than it could come again by the clock of this server: that of another may be slow.
    ends += app_settings.SIGNATURE_WINDOW
    if (alias := app_settings.SIGNATURE_NONCE_CACHE) is not None:
        return _add_to_cache(alias, digest, ends)
    return _add_to_table(digest, ends)


def _add_to_cache(alias: str, digest: str, ends: int) -> bool:
    timeout = max(1, ends - int(time.time()))
    try:
        return bool(caches[alias].add(f"apikeys:nonce:{digest}", 1, timeout))
    except Exception:
        logger.exception("A nonce could not be checked, as the cache is away.")
        raise Refused(refusals.TEMPORARILY_UNAVAILABLE) from None


def _add_to_table(digest: str, ends: int) -> bool:
    row = UsedNonce(digest=digest, ends_at=datetime.fromtimestamp(ends, UTC))
    try:
        with transaction.atomic(using=router.db_for_write(UsedNonce)):
            row.save(force_insert=True)
    except IntegrityError:
        return False
    if digest.startswith("00"):  # every 256th request
        prune(_PRUNED_AT_ONCE)
    return True


def prune(most: int | None = None) -> int:
    """Delete what cannot come again from the table; returns how many rows went."""
    alias = router.db_for_write(UsedNonce)
    rows = UsedNonce.objects.using(alias).filter(ends_at__lt=timezone.now())
    if most is not None:
        pks = rows.order_by("ends_at").values_list("pk", flat=True)[:most]
        rows = UsedNonce.objects.using(alias).filter(pk__in=list(pks))
    deleted, _ = rows.delete()
    return deleted
