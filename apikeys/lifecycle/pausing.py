"""Pause and resume keys. A paused key keeps everything, and its requests are refused."""

from collections.abc import Iterable
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from .. import audit
from ..access import Access
from ..databases import transactions
from ..databases.primary import reading_primary
from ..errors import LifecycleError
from ..grants import Extent, Grant
from ..models import AnyKey, PersonalAccessToken
from ..signals import key_paused, key_resumed
from . import descendants, ending, locking, permitted

_PAUSE = ("paused_at", "paused_by", "paused_reason", "is_held")


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
        locking.check_unended(key)
        return _pause(key, by, reason, held, using)


@transactions.retried
@reading_primary()
def resume(
    key: AnyKey,
    *,
    by: Any = None,
    as_admin: bool = False,
    using: Access | None = None,
    within: Grant | None = None,
) -> bool:
    """Let a paused key work again. Return ``False`` if it was not paused.

    If its owner resumes it with a credential, pass ``within``: it must cover the whole key.
    ``using`` only names the credential in the audit log. Pass ``as_admin`` for a site admin, who
    may also resume a held key.

    Raises ``LifecycleError`` (``held_key``, ``created_with_key``, ``revoked_key``,
    ``expired_key``, ``unknown_key``, ``project_keys_disabled``, or a code of ``mint`` about
    ``within``).
    """
    permitted.check_kind(type(key))
    with transactions.atomic(type(key)):
        holder = locking.lock_all(key, within)
        locking.check_unended(key)
        if key.paused_at is None:
            return False
        if key.is_held and not as_admin:
            message = _("A site admin paused this key. Ask a site admin to resume it.")
            raise LifecycleError("held_key", message)
        extent = Extent.of(key)
        permitted.check_within(within, extent)
        permitted.check_reach(within, key, extent)
        descendants.check_apart(holder, key)
        _resume(key, by, using or locking.credential_of(within))
    return True


@transactions.retried
@reading_primary()
def pause_all(
    keys: Iterable[AnyKey], *, by: Any = None, reason: str = "", held: bool = False
) -> list[AnyKey]:
    """Pause many keys, like ``pause``, in one transaction. Ended keys are left out.

    Return the keys that were not paused before, read again. Raises ``LifecycleError``
    (``reason_too_long``, ``invalid_reason``, ``secret_in_text``) before it pauses any.
    """
    keys = list(keys)
    for key in keys[:1]:
        ending.check_reason(key, reason, "paused_reason")
    with transactions.atomic(PersonalAccessToken), audit.together():
        return [key for key in locking.lock_unended(keys) if _pause(key, by, reason, held, None)]


@transactions.retried
@reading_primary()
def resume_all(keys: Iterable[AnyKey], *, by: Any = None, as_admin: bool = False) -> list[AnyKey]:
    """Resume many keys, like ``resume``, in one transaction.

    Return the keys that were paused, read again. Ended keys are left out, and without
    ``as_admin`` also the held ones.
    """
    resumed = []
    with transactions.atomic(PersonalAccessToken), audit.together():
        for key in locking.lock_unended(list(keys)):
            if key.paused_at is not None and (as_admin or not key.is_held):
                permitted.check_kind(type(key))
                _resume(key, by, None)
                resumed.append(key)
    return resumed


def _pause(key: AnyKey, by: Any, reason: str, held: bool, using: Access | None) -> bool:
    if key.paused_at is not None and (key.is_held or not held):
        return False
    key.paused_at, key.paused_by, key.paused_reason = timezone.now(), by, reason
    key.is_held = held
    key.save(update_fields=_PAUSE)
    key_paused.send(type(key), key=key, by=by, using=using)
    return True


def _resume(key: AnyKey, by: Any, using: Access | None) -> None:
    key.paused_at, key.paused_by, key.paused_reason = None, None, ""
    key.is_held, key.resumed_at = False, timezone.now()
    key.save(update_fields=[*_PAUSE, "resumed_at"])
    key_resumed.send(type(key), key=key, by=by, using=using)
