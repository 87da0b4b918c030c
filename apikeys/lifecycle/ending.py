"""Revoke keys and the keys that were created with them."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from django.db import router
from django.db.models import Case, Value, When
from django.utils import timezone
from django.utils.translation import gettext as _

from .. import audit
from ..access import Access
from ..databases import transactions
from ..databases.primary import reading_primary
from ..errors import LifecycleError
from ..models import KEY_MODELS, AnyKey, PersonalAccessToken, naming
from ..signals import key_revoked
from . import cleaning, descendants, locking


def revoke(key: AnyKey, *, by: Any = None, reason: str = "", using: Access | None = None) -> bool:
    """Revoke ``key`` permanently, and every key that was created with it over the API.

    Keys that were created with one of its predecessors are revoked too. A thief cannot keep
    a key that was created before a rotation.

    Return ``False`` if the key was already revoked: the first revocation stays recorded.
    Raises ``LifecycleError`` (``reason_too_long``, ``invalid_reason``, ``secret_in_text``,
    ``unknown_key``).
    """
    return end(key, by=by, reason=reason, using=using) is not None


@transactions.retried
@reading_primary()
def end(
    key: AnyKey, *, by: Any = None, reason: str = "", using: Access | None = None
) -> list[AnyKey] | None:
    """Revoke ``key`` like ``revoke``. Return the keys that were revoked with it.

    Return ``None`` if the key was already revoked.
    """
    check_reason(key, reason)
    with transactions.atomic(type(key)):
        locking.lock(key)
        if not _end(key, by, reason, using):
            return None
        return _end_descendants([key], by, using)


def check_reason(key: AnyKey, reason: str, column: str = "revoked_reason") -> None:
    """Raise ``LifecycleError`` unless ``column`` can store ``reason``."""
    limit = cleaning.max_length(key, column)
    if len(reason) > limit:
        message = _("Enter a reason of at most %(limit)d characters.") % {"limit": limit}
        raise LifecycleError("reason_too_long", message, "reason")
    if not cleaning.is_text(reason) or naming.turns_direction(reason):
        message = _("The reason contains a character that cannot be displayed.")
        raise LifecycleError("invalid_reason", message, "reason")
    cleaning.check_no_key_in(reason, "reason")


def _end(key: AnyKey, by: Any, reason: str, using: Access | None) -> bool:
    if key.revoked_at is not None:
        return False
    key.revoked_at, key.revoked_by, key.revoked_reason = timezone.now(), by, reason
    key.save(update_fields=["revoked_at", "revoked_by", "revoked_reason"])
    key_revoked.send(type(key), key=key, by=by, using=using)
    return True


@transactions.retried
@reading_primary()
def revoke_all(reasons: Mapping[AnyKey, str], *, by: Any = None) -> list[AnyKey]:
    """Revoke many keys, like ``revoke``, each for its reason.

    Return the keys that were not revoked before, read again. Up to 1,000 keys take as many
    queries as one. Raises ``LifecycleError`` (``reason_too_long``, ``invalid_reason``,
    ``secret_in_text``) before it revokes any.
    """
    for reason, key in {reason: key for key, reason in reasons.items()}.items():
        check_reason(key, reason)
    ended: list[AnyKey] = []
    with transactions.atomic(PersonalAccessToken):
        for model in KEY_MODELS.values():
            of_model = {key.pk: text for key, text in reasons.items() if isinstance(key, model)}
            keys = [k for k in locking.lock_many(model, of_model) if k.revoked_at is None]
            if keys:
                _end_all(model, keys, of_model, by)
                ended += keys
        # Once both kinds are revoked: a selected key must not end as the descendant of another.
        if ended:
            _end_descendants(ended, by)
    return ended


def _end_all(model: Any, keys: list[Any], reasons: Mapping[Any, str], by: Any) -> None:
    now, by_reason = timezone.now(), defaultdict(list)
    for key in keys:
        key.revoked_at, key.revoked_by, key.revoked_reason = now, by, reasons[key.pk]
        by_reason[key.revoked_reason].append(key.pk)
    whens = [When(pk__in=pks, then=Value(text)) for text, pks in by_reason.items()]
    reason = Case(*whens) if len(whens) > 1 else Value(keys[0].revoked_reason)
    rows = model._default_manager.using(router.db_for_write(model))
    rows.filter(pk__in=[key.pk for key in keys]).update(
        revoked_at=now, revoked_by=by, revoked_reason=reason
    )
    with audit.together():
        for key in keys:
            key_revoked.send(model, key=key, by=by, using=None)


def _end_descendants(
    keys: Collection[AnyKey], by: Any, using: Access | None = None
) -> list[AnyKey]:
    """Revoke what was created with ``keys``, which were revoked, or with their predecessors."""
    reason = _("Created with a key that was revoked.")
    if len(keys) == 1:
        only = next(iter(keys)).public_id
        reason = _("Created with %(id)s, which was revoked.") % {"id": only}
    return descendants.end_made_with(keys=keys, older=True, reason=reason, by=by, using=using)
