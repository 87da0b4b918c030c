"""Edit a key."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Unpack, cast

from .. import moments, restrictions
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
from . import cleaning, locking, permitted


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
    by: Any = None,
    within: Grant | None = None,
    **texts: Unpack[OptionalTexts],
) -> dict[str, tuple[Any, Any]]:
    """Edit a key. Changes apply to the next request. Return ``{field: (before, after)}``.

    ``within`` limits what may be added. The key can keep or lose what it has. A credential that
    adds anything must cover the whole key, because the addition applies to all of it: a scope in
    every project, a project with every scope. Scopes that need approval cannot be added: create
    another key for them. ``texts`` sets the other texts about the key, by column. An empty text
    removes it.

    Raises ``LifecycleError`` as ``mint`` does, or with ``revoked_key``, ``expired_key``,
    ``already_rotated``, ``unknown_key`` (it was deleted) or ``approval_required``.
    """
    if not (key.SELECTS_PROJECTS or isinstance(projects, Keep)):
        raise TypeError("A project key has one project, for good.")
    with transactions.atomic(type(key)):
        locking.lock_all(key, within)
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
        has = Extent(scope, reached, ends, restricted)
        permitted.check_within(within, has, had)
        permitted.check_approval(key, has, had)

        before, after = _editable(had_texts, had), _editable(has_texts, has)
        changes = {f: (before[f], after[f]) for f in before if before[f] != after[f]}
        if changes:
            fields = [*TEXTS, "scope", "expires_at", "is_pending", *NAMES]
            restrictions.put(key, restricted)
            put_texts(key, has_texts)
            key.scope, key.expires_at = scope, ends
            key.is_pending = key.is_pending and bool(permitted.to_approve(key.owner, scope))
            if key.SELECTS_PROJECTS:
                fields.append("all_projects")
                key.all_projects = reached is None
                cast("Any", key).projects.set(reached or ())
            key.save(update_fields=fields)
            key_edited.send(
                type(key), key=key, by=by, using=locking.credential_of(within), changes=changes
            )
    return changes


def _editable(texts: dict[str, str], extent: Extent) -> dict[str, Any]:
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
    }
