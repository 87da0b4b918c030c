"""Repeat requests safely with ``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header).

The transaction that creates the key also inserts a row. So one of several concurrent requests
creates the key, and the others wait for it. A failed or interrupted request leaves no row.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from django.db import Error, IntegrityError, router
from rest_framework.request import Request

from ..databases import clock, tenants, transactions
from ..lifecycle import Minted
from ..models import IdempotentRequest
from .exceptions import IdempotencyKeyReused, InvalidIdempotencyKey

logger = logging.getLogger("apikeys")

RETENTION: Final = timedelta(hours=24)

_TRIES = 5
_PRUNED_AT_ONCE = 100


def once(request: Request, caller: str, make: Callable[[], Minted[Any]]) -> Minted[Any] | str:
    """Call ``make`` and return its result. Return the ID of the key if ``request`` is a repetition.

    ``caller`` names the caller, so that no one sees the result of another caller. Raise
    ``InvalidIdempotencyKey`` if the header is malformed, and ``IdempotencyKeyReused`` if it
    was sent with another method, path or body. Without the header, always call ``make``.
    """
    name = request.headers.get("Idempotency-Key")
    if name is None:
        return make()
    if not re.fullmatch(r"[!-~]{1,255}", name):
        raise InvalidIdempotencyKey
    digest = _hash(tenants.prefix_of(IdempotentRequest) + caller, name)
    fingerprint = _hash(request.method, request.path, request.data)
    for tries_left in reversed(range(_TRIES)):
        try:
            made = _make(digest, fingerprint, make)
        except IntegrityError:
            if (earlier := IdempotentRequest.objects.filter(digest=digest).first()) is None:
                if tries_left:
                    continue
                raise
            if earlier.created_at > clock.now(IdempotentRequest) - RETENTION:
                if earlier.fingerprint != fingerprint:
                    raise IdempotencyKeyReused from None
                return earlier.made
            earlier.delete()
        else:
            _prune()
            return made
    raise AssertionError("unreachable")


# If the first of several waiting transactions rolls back, MariaDB reports a deadlock to another.
@transactions.retried
def _make(digest: str, fingerprint: str, make: Callable[[], Minted[Any]]) -> Minted[Any]:
    with transactions.atomic(IdempotentRequest):
        row = IdempotentRequest.objects.create(digest=digest, fingerprint=fingerprint)
        minted = make()
        row.made = minted.key.public_id
        row.save(update_fields=["made"])
    return minted


def _prune() -> None:
    rows = IdempotentRequest.objects.using(_alias())
    try:
        with transactions.atomic(IdempotentRequest):
            old = rows.filter(created_at__lte=clock.now(IdempotentRequest) - RETENTION)
            pks = old.order_by("created_at").values_list("pk", flat=True)[:_PRUNED_AT_ONCE]
            rows.filter(pk__in=list(pks)).delete()
    except Error:  # the key exists already, so the response must succeed
        logger.warning("Could not delete old idempotent requests.", exc_info=True)


def _alias() -> str:
    return router.db_for_write(IdempotentRequest)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
