"""Accept each nonce of a signature once, across all processes."""

import hashlib
import logging
import time
from datetime import timedelta

from django.core.cache import caches
from django.db import Error, IntegrityError, router

from .. import moments, refusals
from ..conf import app_settings
from ..databases import clock, tenants, transactions
from ..models import UsedNonce
from ..refusals import Refused

logger = logging.getLogger("apikeys")

_PRUNED_AT_ONCE = 1000
#: How long a nonce is kept after it can no longer be accepted.
MARGIN = timedelta(days=1)


def use(public_id: str, nonce: str, ends: int) -> bool:
    """Use up ``nonce`` until ``ends`` (Unix time); return ``False`` if this key has used it.

    If several requests use it in parallel, one succeeds. Raise ``Refused``
    (``temporarily_unavailable``) if the cache does not answer.
    """
    tenant = tenants.prefix_of(UsedNonce)  # the cache is shared by all tenants
    # JSON may contain characters that UTF-8 has no bytes for.
    text = f"{tenant}{public_id}:{nonce}".encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(text).hexdigest()
    # Keep it longer than this server would accept it: the clock of another server may be slow.
    ends += app_settings.SIGNATURE_WINDOW
    if (alias := app_settings.SIGNATURE_NONCE_CACHE) is not None:
        return _add_to_cache(alias, digest, ends)
    return _add_to_table(digest, ends)


def _add_to_cache(alias: str, digest: str, ends: int) -> bool:
    timeout = max(1, ends - int(time.time()))
    try:
        return bool(caches[alias].add(f"apikeys:nonce:{digest}", 1, timeout))
    except Exception:
        logger.exception("A nonce could not be checked, because the cache is unavailable.")
        raise Refused(refusals.TEMPORARILY_UNAVAILABLE) from None


def _add_to_table(digest: str, ends: int) -> bool:
    row = UsedNonce(digest=digest, ends_at=moments.at(ends))
    try:
        with transactions.atomic(UsedNonce):
            row.save(force_insert=True)
    except IntegrityError:
        return False
    if digest.startswith("00"):  # every 256th request
        try:
            prune(_PRUNED_AT_ONCE)
        except Error:  # the request itself can continue
            logger.warning("Could not delete old nonces.", exc_info=True)
    return True


@transactions.retried
def prune(most: int | None = None) -> int:
    """Delete nonces that cannot be accepted again; return how many were deleted.

    Waits for ``MARGIN``, because the clock of any server or client may be wrong.
    """
    alias = router.db_for_write(UsedNonce)
    rows = UsedNonce.objects.using(alias).filter(ends_at__lt=clock.now(UsedNonce) - MARGIN)
    if most is not None:
        pks = rows.order_by("ends_at").values_list("pk", flat=True)[:most]
        rows = UsedNonce.objects.using(alias).filter(pk__in=list(pks))
    deleted, _ = rows.delete()
    return deleted
