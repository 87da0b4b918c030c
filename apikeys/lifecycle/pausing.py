"""Pause and resume a key. A paused key keeps everything, and its requests are refused."""

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from ..access import Access
from ..databases import transactions
from ..databases.primary import reading_primary
from ..errors import LifecycleError
from ..models import AnyKey, State
from ..signals import key_paused, key_resumed
from . import ending, locking, permitted


@transactions.retried
@reading_primary()
def pause(
    key: AnyKey,
    *,
    by: Any = None,
    reason: str = "",
    held: bool = False,
    using: Access | None = None,
) -> bool:
    """Refuse all requests with ``key`` until it is resumed, and with tokens issued for it.

    Keys that were created with it keep working. With ``held``, only a site admin can resume it.
    A held pause replaces one that is not held. Return ``False`` if the key was already paused.

    Raises ``LifecycleError`` (``revoked_key``, ``expired_key``, ``unknown_key``,
    ``reason_too_long``, ``invalid_reason``, ``secret_in_text``).
    """
    ending.check_reason(key, reason, "paused_reason")
    with transactions.atomic(type(key)):
        locking.lock(key)
        _check_unended(key)
        if key.paused_at is not None and (key.is_held or not held):
            return False
        key.paused_at, key.paused_by, key.paused_reason = timezone.now(), by, reason
        key.is_held = held
        key.save(update_fields=["paused_at", "paused_by", "paused_reason", "is_held"])
        key_paused.send(type(key), key=key, by=by, using=using)
    return True


@transactions.retried
@reading_primary()
def resume(
    key: AnyKey, *, by: Any = None, as_admin: bool = False, using: Access | None = None
) -> bool:
    """Let a paused key work again. Return ``False`` if it was not paused.

    Pass ``as_admin`` for a site admin, who may also resume a held key.

    Raises ``LifecycleError`` (``held_key``, ``revoked_key``, ``expired_key``, ``unknown_key``,
    and ``project_keys_disabled``).
    """
    permitted.check_kind(type(key))
    with transactions.atomic(type(key)):
        locking.lock(key)
        _check_unended(key)
        if key.paused_at is None:
            return False
        if key.is_held and not as_admin:
            message = _("A site admin paused this key. Ask a site admin to resume it.")
            raise LifecycleError("held_key", message)
        key.paused_at, key.paused_by, key.paused_reason = None, None, ""
        key.is_held, key.resumed_at = False, timezone.now()
        fields = ["paused_at", "paused_by", "paused_reason", "is_held", "resumed_at"]
        key.save(update_fields=fields)
        key_resumed.send(type(key), key=key, by=by, using=using)
    return True


def _check_unended(key: AnyKey) -> None:
    state = key.state()
    if state is State.REVOKED:
        raise LifecycleError("revoked_key", _("This key was revoked. Create a new one."))
    if state is State.EXPIRED:
        raise LifecycleError("expired_key", _("This key has expired. Create a new one."))
