"""Change which workload a key trusts, and convert a key with a secret into such a key."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from .. import hashing, moments
from ..conf import app_settings
from ..databases import transactions
from ..databases.primary import reading_primary
from ..errors import LifecycleError
from ..grants import Extent, Grant
from ..models import AnyKey, endings
from ..signals import key_edited
from ..workloads.rules import Trust
from . import cleaning, descendants, locking, permitted, sealing


def clean(key: AnyKey, given: Any) -> Trust:
    """Return the new trust of ``key``. Raises ``LifecycleError``."""
    if not key.trust:
        message = _(
            "This key does not trust a workload. Convert it, or rotate it with the rules for the "
            "new key."
        )
        raise LifecycleError("conversion_required", message, "trust")
    return cleaning.clean_trust(given, direct_use=False)


def hand_over(
    key: AnyKey, has: Extent, had: Extent, within: Grant | None, holder: AnyKey | None
) -> list[str]:
    """Make ``key`` end with the credential that lets another workload use it.

    Otherwise a thief of the credential could keep the key. ``holder`` is the key behind the
    credential. Return the changed columns. Raises
    ``LifecycleError`` (``rotate_instead``) if the key already ends with another credential.
    """
    using = locking.credential_of(within)
    if using is None or using.revoked_with == key.public_id or not has.trusts_beyond(had):
        return []
    if key.minted_with and key.minted_with != using.revoked_with:
        message = _(
            "Another credential created this key, and the key ends with it. Rotate the key with "
            "the new rules instead."
        )
        raise LifecycleError("rotate_instead", message, "trust")
    key.minted_with = using.revoked_with
    key.made_with_token = descendants.token_of(using) or key.made_with_token
    key.lineage = key.lineage or (descendants.lineage_of(holder) if holder is not None else "")
    names = {*key.upstream.split(), *descendants.upstream_of(using, None).split()}
    key.upstream = " ".join(sorted(names))
    return ["minted_with", "made_with_token", "lineage", "upstream"]


@transactions.retried
@reading_primary()
def convert(
    key: AnyKey,
    *,
    trust: Mapping[str, Any],
    overlap: timedelta | None = None,
    by: Any = None,
    within: Grant | None = None,
) -> dict[str, tuple[Any, Any]]:
    """Make a project key trust a workload in place of its secret. Return the changes.

    The key keeps its ID, scopes and history. Its secret keeps working for ``overlap`` (0 to 7
    days, by default the setting ``ROTATION_OVERLAP``), and then stops. ``within`` must cover the
    whole key.

    Raises ``LifecycleError`` with ``not_convertible`` (the key has no secret of its own, or a
    pepper that is lost), ``overlap_out_of_range``, ``revoked_key``, ``expired_key``,
    ``already_rotated``, ``unknown_key``, ``approval_required``, ``rotate_instead``, or a code of
    ``mint`` about trusts and ``within``.
    """
    overlap = app_settings.ROTATION_OVERLAP if overlap is None else overlap
    cleaning.check_overlap(overlap)
    permitted.check_kind(type(key))
    if not key.TAKES_PUBLIC_KEY:
        raise _not_convertible(_("A personal access token acts for its user. It needs a secret."))
    trusted = cleaning.clean_trust(trust, direct_use=False)
    with transactions.atomic(type(key)):
        holder = locking.lock_all(key, within)
        locking.check_live(key)
        if key.trust or key.public_key or key.former:
            message = _("Only a key with its own secret can be converted. Rotate this key instead.")
            raise _not_convertible(message)
        had = Extent.of(key)
        has = replace(had, trust=trusted)
        permitted.check_within(within, has, had)
        if key.is_pending or permitted.to_approve(key.owner, key.scope):
            message = _(
                "This key has permissions that need approval. Rotate it with the rules instead. "
                "The new key then needs approval."
            )
            raise LifecycleError("approval_required", message, "trust")
        owned = hand_over(key, has, had, within, holder)
        ends = _end_secret(key, timezone.now() + overlap if overlap else None)
        sealing.put_trust(key, trusted)
        fields = ["trust", "trust_anchor", "root", "digest", "pepper_id", *owned]
        if not key.digest:
            key.direct_use = False  # it was about the secret
            fields.append("direct_use")
        key.save(update_fields=fields)
        changes: dict[str, tuple[Any, Any]] = {
            "trust": (None, trusted.as_json()),
            "secret_ends_at": (None, moments.iso(ends)),
        }
        using = locking.credential_of(within)
        key_edited.send(type(key), key=key, by=by, using=using, changes=changes)
    return changes


def _end_secret(key: Any, ends: datetime | None) -> datetime:
    """Let the secret of ``key`` end; ``None`` means now."""
    if ends is None:
        sealing.without_secret(key)
        return timezone.now()
    if key.pepper_id not in map(hashing.pepper_id, app_settings.PEPPERS):
        raise _not_convertible(
            _(
                "The pepper of this key was replaced. Send one request with the key, and then "
                "convert it."
            )
        )
    # The digest alone checks the secret now. Without the root, nothing renews it.
    key.root, key.pepper_id = "", endings.mark(ends)
    return ends


def _not_convertible(message: str) -> LifecycleError:
    return LifecycleError("not_convertible", message, "trust")
