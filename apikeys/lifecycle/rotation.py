"""Replace a key by a successor with a new secret."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from .. import decisions, restrictions
from ..conf import app_settings
from ..databases import transactions
from ..databases.primary import reading_primary
from ..errors import LifecycleError
from ..grants import Extent, Grant
from ..models import PersonalAccessToken
from ..models.keys import K
from ..models.texts import put_texts, texts_of
from ..restrictions.base import Terms
from ..signals import key_rotated
from . import cleaning, descendants, locking, minting, permitted, sealing
from .editing import KEEP, Keep
from .minting import Minted


@transactions.retried
@reading_primary()
@sensitive_variables("text", "public_key")
def rotate(
    key: K,
    *,
    overlap: timedelta | None = None,
    expires_at: datetime | Keep | None = KEEP,
    public_key: str | Mapping[str, Any] | None = None,
    trust: Mapping[str, Any] | None = None,
    by: Any = None,
    within: Grant | None = None,
) -> Minted[K]:
    """Create a successor of ``key`` with a new ID and secret, and otherwise the same terms.

    The old key keeps working for ``overlap`` (0 to 7 days, by default the setting
    ``ROTATION_OVERLAP``), but never past its own expiry. The successor keeps the old expiry,
    unless ``expires_at`` or the policy's ``longest_lifetime`` shortens or changes it.

    ``within`` must cover the whole key, because its caller receives the new secret. A successor
    that was created with another credential is revoked with that credential. A key that rotates
    itself keeps working when its predecessor is revoked.

    Pass ``public_key`` to rotate a key that holds a public key, or to replace the secret of a
    project key with a public key. Pass ``trust`` likewise, for a key that trusts a workload. If
    the new rules let other workloads in, and the scopes need approval, the successor waits for
    it.

    If several rotations race, one succeeds and the others raise ``already_rotated``. Raises
    ``LifecycleError`` with one of these codes: ``overlap_out_of_range``,
    ``expiry_in_the_past``, ``expiry_required``, ``expiry_too_late``, ``already_rotated``,
    ``revoked_key``, ``expired_key``, ``paused_key``, ``unknown_key``, ``scope_not_grantable``,
    ``project_not_grantable``, ``outlives_credential``, ``credential_changed``,
    ``public_key_required``, ``trust_required``, or a code of ``mint`` about public keys and
    trusts.
    """
    overlap = app_settings.ROTATION_OVERLAP if overlap is None else overlap
    cleaning.check_overlap(overlap)
    model = type(key)
    permitted.check_kind(model)
    # Hashing is slow, so do it before any lock.
    trusted = None if trust is None else cleaning.clean_trust(trust, direct_use=False)
    successor, text = sealing.sealed_successor(key, public_key, trusted)
    with transactions.atomic(model):
        holder = locking.lock_all(key, within)
        locking.check_live(key)
        if key.paused_at is not None:  # its successor would work
            raise LifecycleError("paused_key", _("This key is paused. Resume it first."))
        now, had = timezone.now(), Extent.of(key)
        if isinstance(expires_at, Keep):
            ends = cleaning.within_lifetime(key.expires_at, key.owner, now)
        else:
            ends = cleaning.clean_expiry(expires_at, key.owner, now)
        restrictions.check_terms(had.restrictions, Terms(ends, bool(successor.public_key)))
        has = replace(had, expires_at=ends, trust=trusted)
        permitted.check_within(within, has)
        successor.scope, successor.expires_at = key.scope, ends
        put_texts(successor, texts_of(key))
        successor.metadata = key.metadata
        restrictions.put(successor, had.restrictions)
        if trusted is not None and not key.trust:
            successor.direct_use = False  # it was about the secret
        successor.created_at, successor.replaces = now, key
        successor.is_pending, successor.minted_with = key.is_pending, key.minted_with
        successor.made_with_token, successor.lineage = key.made_with_token, key.lineage
        successor.upstream = key.upstream
        using = locking.credential_of(within)
        if using is not None and using.revoked_with != key.public_id:
            successor.minted_with = using.revoked_with  # this credential saw the secret
            successor.lineage = descendants.lineage_of(holder) if holder is not None else ""
            successor.upstream = descendants.upstream_of(using, getattr(key, "user", None))
        if using is not None and (made_with_token := descendants.token_of(using)):
            successor.made_with_token = made_with_token
            # The token's client knows the secret, even if the key rotated itself.
            names = {*successor.upstream.split(), *using.upstream.split()}
            successor.upstream = " ".join(sorted(names))
        successor.approved_at, successor.approved_by = key.approved_at, key.approved_by
        if has.trusts_beyond(had) and permitted.to_approve(key.owner, key.scope):
            successor.is_pending, successor.approved_at, successor.approved_by = True, None, None
        if isinstance(key, PersonalAccessToken):
            successor.user, successor.all_projects = key.user, key.all_projects
        else:
            successor.project, successor.created_by = key.project, by or key.created_by
        # It may have been replaced after its end, and work again because the policy changed.
        model._default_manager.filter(replaces=key.pk).update(replaces=None)
        key.rotated_at = now
        if key.expires_at is None or key.expires_at > now + overlap:
            key.expires_at = now + overlap
        key.save(update_fields=["rotated_at", "expires_at"])
        minting.save(successor, had.projects or ())
        if isinstance(key, PersonalAccessToken):
            if holder is not None and holder != key:  # it saw the secret
                decisions.copy(holder, successor, approvals=False)
            is_own = using is None or using.revoked_with == key.public_id
            decisions.copy(key, successor, approvals=is_own)
        key_rotated.send(model, key=key, by=by, using=using, successor=successor)
    return Minted(successor, text)
