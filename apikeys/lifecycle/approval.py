"""Approve or reject a pending key."""

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from ..access import Access
from ..databases import transactions
from ..databases.primary import reading_primary
from ..errors import LifecycleError
from ..grants import Extent, Grant
from ..models import AnyKey
from ..signals import key_approved
from . import locking, permitted
from .ending import check_reason, revoke


@transactions.retried
@reading_primary()
def approve(key: AnyKey, *, by: Any = None, within: Grant | None = None) -> None:
    """Approve a pending key, so that it starts to work.

    Check ``Policy.may_approve`` first: this function does not. If the approval is made with a
    credential, ``within`` must cover the whole key.

    Raises ``LifecycleError`` with the code ``not_pending``, ``revoked_key``, ``expired_key``, or
    a code of ``mint`` about ``within``.
    """
    permitted.check_kind(type(key))
    with transactions.atomic(type(key)):
        locking.lock_all(key, within)
        _check_pending(key)
        extent = Extent.of(key)
        permitted.check_within(within, extent)
        permitted.check_reach(within, key, extent)
        key.is_pending, key.approved_at, key.approved_by = False, timezone.now(), by
        key.save(update_fields=["is_pending", "approved_at", "approved_by"])
        key_approved.send(type(key), key=key, by=by, using=locking.credential_of(within))


@transactions.retried
@reading_primary()
def reject(key: AnyKey, *, by: Any = None, reason: str = "", using: Access | None = None) -> None:
    """Revoke a pending key, and mark it as rejected.

    Raises the errors of ``approve`` and ``revoke``.
    """
    reason = reason or _("Not approved.")
    check_reason(key, reason)
    with transactions.atomic(type(key)):
        locking.lock(key)
        _check_pending(key)
        key.is_rejected = True
        key.save(update_fields=["is_rejected"])
        revoke(key, by=by, reason=reason, using=using)


def _check_pending(key: AnyKey) -> None:
    locking.check_live(key)
    if not key.is_pending:
        raise LifecycleError("not_pending", _("This key is not pending approval."))
