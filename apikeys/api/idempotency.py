"""``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header): a repetition makes no key.

A row is inserted in the transaction that makes the key. So of requests at the same moment
one goes on and the others wait for it; and what failed, or was cut off, has left no row.
"""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from django.db import IntegrityError, OperationalError, connections, router, transaction
from django.utils import timezone
from rest_framework.request import Request

from ..lifecycle import Minted
from ..models import IdempotentRequest
from .exceptions import IdempotencyKeyReused, InvalidIdempotencyKey

RETENTION: Final = timedelta(hours=24)

_TRIES = 5
_PRUNED_AT_ONCE = 100


def once(request: Request, caller: str, make: Callable[[], Minted[Any]]) -> Minted[Any] | str:
    """What ``make`` makes, or the public id of what it made when this was asked before.

    Raises ``InvalidIdempotencyKey`` and ``IdempotencyKeyReused``.
    """
    name = request.headers.get("Idempotency-Key")
    if name is None:
        return make()
    if not re.fullmatch(r"[!-~]{1,255}", name):
        raise InvalidIdempotencyKey
    digest = _hash(caller, name)
    fingerprint = _hash(request.method, request.path, request.data)
    for tries_left in reversed(range(_TRIES)):
        try:
            made = _make(digest, fingerprint, make)
        except IntegrityError:
            if (earlier := IdempotentRequest.objects.filter(digest=digest).first()) is None:
                if tries_left:
                    continue
                raise
            if earlier.created_at > timezone.now() - RETENTION:
                if earlier.fingerprint != fingerprint:
                    raise IdempotencyKeyReused from None
                return earlier.made
            earlier.delete()
        except OperationalError:
            # MariaDB ends one of those who wait for the same row when the first gives it up.
            if not tries_left or connections[_alias()].in_atomic_block:
                raise
        else:
            _prune()
            return made
    raise AssertionError("unreachable")


def _make(digest: str, fingerprint: str, make: Callable[[], Minted[Any]]) -> Minted[Any]:
    with transaction.atomic(using=_alias()):
        row = IdempotentRequest.objects.create(digest=digest, fingerprint=fingerprint)
        minted = make()
        row.made = minted.key.public_id
        row.save(update_fields=["made"])
    return minted


def _prune() -> None:
    old = IdempotentRequest.objects.filter(created_at__lte=timezone.now() - RETENTION)
    if pks := list(old.order_by("created_at").values_list("pk", flat=True)[:_PRUNED_AT_ONCE]):
        IdempotentRequest.objects.filter(pk__in=pks).delete()


def _alias() -> str:
    return router.db_for_write(IdempotentRequest)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
