"""Edit a key."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Unpack, cast

from .. import decisions, moments, restrictions
from .. import scopes as scope_names
from ..conf import slug_of
from ..databases import transactions
from ..databases.primary import reading_primary
from ..grants import Extent, Grant
from ..models import AnyKey
from ..models.texts import TEXTS, OptionalTexts, put_texts, texts_of
from ..restrictions import NAMES, RESTRICTIONS
from ..restrictions.base import Terms
from ..signals import key_edited
from . import cleaning, locking, permitted, sealing, trusting
from . import metadata as metadata_of


class Keep:
    """The type of ``KEEP``."""


#: Default of an argument: keep the current value.
KEEP: Final = Keep()


@transactions.retried
@reading_primary()
def edit(
    key: AnyKey,
    *,
    name: str | Keep = KEEP,
    scopes: Iterable[str] | Keep = KEEP,
    projects: Iterable[Any] | Keep | None = KEEP,
    expires_at: datetime | Keep | None = KEEP,
    not_before: datetime | Keep | None = KEEP,
    allowed_networks: Iterable[str] | Keep = KEEP,
    rate_limits: Iterable[str] | Keep = KEEP,
    direct_use: bool | Keep = KEEP,
    trust: Mapping[str, Any] | Keep | None = KEEP,
    metadata: Mapping[str, Any] | Keep | None = KEEP,
    by: Any = None,
    within: Grant | None = None,
    **texts: Unpack[OptionalTexts],
) -> dict[str, tuple[Any, Any]]:
    """Edit a key. Changes apply to the next request. Return ``{field: (before, after)}``.

    ``within`` limits what may be added. The key can keep or lose what it has. A credential that
    adds anything must cover the whole key, because the addition applies to all of it: a scope in
    every project, a project with every scope. Scopes that need approval cannot be added: create
    another key for them. ``texts`` sets the other texts about the key, by column. An empty text
    removes it. ``metadata`` replaces all metadata; an empty object removes it. ``trust`` replaces
    the rules of a key that trusts a workload. New rules that let other workloads in add the whole
    key.

    Raises ``LifecycleError`` as ``mint`` does, or with ``revoked_key``, ``expired_key``,
    ``already_rotated``, ``unknown_key`` (it was deleted), ``approval_required``,
    ``conversion_required`` (``trust`` for a key with another proof) or ``rotate_instead``.
    """
    if not (key.SELECTS_PROJECTS or isinstance(projects, Keep)):
        raise TypeError("A project key has one project, for good.")
    with transactions.atomic(type(key)):
        holder = locking.lock_all(key, within)
        locking.check_live(key)
        had = Extent.of(key)
        reached, scope, ends = had.projects, key.scope, key.expires_at
        if not isinstance(scopes, Keep):
            scope = cleaning.clean_scopes(scopes, known=had.scope)
        if not isinstance(projects, Keep):
            reached = None
            if projects is not None:
                chosen = cleaning.clean_projects(key.owner, projects, had.projects or ())
                reached = frozenset(chosen)
        if not isinstance(expires_at, Keep) and cleaning.as_stored(expires_at) != ends:
            ends = cleaning.clean_expiry(expires_at, key.owner, key.created_at)
        named = {} if isinstance(name, Keep) else {"name": name}
        had_texts = texts_of(key)
        has_texts = had_texts | cleaning.clean_texts({**named, **texts})
        trusted = had.trust
        if not isinstance(trust, Keep) and (trust is not None or key.trust):
            trusted = trusting.clean(key, trust)
        if direct_use is True and trusted is not None and not key.direct_use:
            cleaning.check_direct_use(trusted)
        given = {
            "not_before": not_before,
            "allowed_networks": allowed_networks,
            "rate_limits": rate_limits,
            "direct_use": direct_use,
        }
        restricted = tuple(
            value if isinstance(given[each.name], Keep) else each.clean(given[each.name], key.owner)
            for each, value in zip(RESTRICTIONS, had.restrictions, strict=True)
        )
        restrictions.check_terms(restricted, Terms(ends, bool(key.public_key)))
        has = Extent(scope, reached, ends, restricted, trusted)
        permitted.check_within(within, has, had)
        permitted.check_reach(within, key, has, had)
        permitted.check_approval(key, has, had)
        owned = trusting.hand_over(key, has, had, within, holder)

        stored = key.metadata if isinstance(metadata, Keep) else metadata_of.clean(metadata)
        before = _editable(had_texts, had, key.metadata)
        after = _editable(has_texts, has, stored)
        changes = {f: (before[f], after[f]) for f in before if before[f] != after[f]}
        if changes:
            fields = [*TEXTS, "metadata", "scope", "expires_at", "is_pending", *NAMES, *owned]
            if trusted is not None:
                sealing.put_trust(key, trusted)
                fields += ["trust", "trust_anchor"]
            restrictions.put(key, restricted)
            put_texts(key, has_texts)
            key.metadata = stored
            key.scope, key.expires_at = scope, ends
            key.is_pending = key.is_pending and bool(permitted.to_approve(key.owner, scope))
            if key.SELECTS_PROJECTS:
                fields.append("all_projects")
                key.all_projects = reached is None
                cast("Any", key).projects.set(reached or ())
            key.save(update_fields=fields)
            if has.wider(had):
                decisions.forget_approvals(key)
            key_edited.send(
                type(key), key=key, by=by, using=locking.credential_of(within), changes=changes
            )
    return changes


def _editable(texts: dict[str, str], extent: Extent, metadata: Any) -> dict[str, Any]:
    """Return the editable values of a key as plain values."""
    projects = extent.projects
    return {
        **texts,
        "scopes": list(scope_names.split(extent.scope)),
        "projects": None if projects is None else sorted(slug_of(p) for p in projects),
        "expires_at": moments.iso(extent.expires_at) if extent.expires_at else None,
        **{
            each.name: each.as_json(value)
            for each, value in zip(RESTRICTIONS, extent.restrictions, strict=True)
        },
        "trust": extent.trust.as_json() if extent.trust else None,
        "metadata": metadata,
    }
