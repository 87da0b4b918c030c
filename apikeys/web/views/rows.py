"""Template data of keys: rows of a list, and the rotation chain."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ... import restrictions, scopes, token, usage
from ...audit import Event
from ...keys import ended, facts
from ...keys.forms import indented
from ...models import AnyKey, AuditEvent
from ...models.texts import OPTIONAL
from ...reach.listing import Standing
from ...reach.listing import standings as standings_of
from ...restrictions.base import Restriction
from ...workloads import rules
from ..filters import SOON
from ..owners import Tokens, owner_of

_MOST_OF_CHAIN: Final = 10
_REACHES_ALL: Final = Standing([], [])


#: How long after its last use a key is said to be in use.
IN_USE: Final = timedelta(hours=1)

#: How long after its last use a page warns before the key is denied, as before it is revoked.
USED_LATELY: Final = timedelta(days=30)

#: The states of keys that have not ended.
UNENDED: Final = ("live", "pending", "paused")


def is_editable(key: AnyKey) -> bool:
    return key.state() in UNENDED and key.rotated_at is None


def is_in_use(key: AnyKey, counts: Sequence[int]) -> bool:
    """Return whether ``key`` was used in the days of ``counts``, its requests per day."""
    since = timezone.now() - timedelta(days=len(counts))
    return any(counts) or (key.last_used_at is not None and key.last_used_at > since)


def is_rotatable(key: AnyKey) -> bool:
    """Return whether ``key`` may be rotated. A paused key must be resumed first."""
    return is_editable(key) and key.paused_at is None


def may_resume(key: AnyKey) -> bool:
    """Return whether the pages offer to resume ``key``. A held key is for a site admin."""
    return key.paused_at is not None and not key.is_held and key.state() in UNENDED


def is_replaceable(key: AnyKey) -> bool:
    """Return whether a new key may be linked with ``key`` as its replacement."""
    has_ended = key.state() not in UNENDED
    return has_ended and key.rotated_at is None and facts.successor_id(key) is None


def rows_of(
    keys: list[AnyKey],
    owner: Tokens,
    *,
    columns: Sequence[str] | None = None,
    with_usage: bool = True,
    creators: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Return the template data of each key.

    ``with_usage`` adds its requests, and where a token is denied or pending approval.
    Pass ``creators`` if you have called ``creators_of`` already.
    """
    now, mint = timezone.now(), owner.url("mint")
    standings = _standings(keys, owner, now) if with_usage else {}
    counts = usage.daily(owner.model, [key.pk for key in keys]) if with_usage else {}
    creators = creators_of(keys) if creators is None else creators
    return [
        {
            "key": key,
            **_neighbours(key, owner),
            "creator": creators.get(key.public_id)
            or getattr(key, "created_by", None)
            or (key.minted_with if token.is_id(key.minted_with) else _("the site")),
            "state": key.state(now).value,
            "label": key.state_label(now),
            "scopes": labelled(key.scopes),
            "columns": list(_columns(key, columns or facts.COLUMNS_OF_PAGES[key.KIND])),
            "projects": owner.reach(key),
            "denials": (standing := standings.get(key.public_id, _REACHES_ALL)).denials,
            "denied": _projects(standing, is_rejected=False),
            "rejected": _projects(standing, is_rejected=True),
            "awaits": standing.awaits,
            "restrictions": restrictions_of(key),
            "trust": rules.read(key.trust),
            "pauses": pauses(key, now),
            "texts": _texts(key),
            "metadata": indented(key.metadata),
            "counts": counts.get(key.pk, []),
            "is_editable": is_editable(key),
            "is_rotatable": is_rotatable(key),
            "is_revocable": key.state(now) in UNENDED,
            "may_resume": may_resume(key),
            "ends_at": (ends := key.ends_at()),
            "is_over": ends is not None and ends <= now,
            "soon": ends is not None and key.state(now) == "live" and ends - now <= SOON,
            "url": owner.url("key", key),
            "edit": owner.url("edit", key),
            "rotate": owner.url("rotate", key),
            "resume": owner.url("resume", key),
            "revoke": owner.url("revoke", key),
            "copy": f"{mint}?from={key.public_id}",
        }
        for key in keys
    ]


def brief(user: Any, key: AnyKey) -> dict[str, Any]:
    """Return the template data of ``key`` in a list of keys of several owners."""
    owner: Tokens = owner_of(user, key)
    return {
        "key": key,
        "url": owner.url("key", key),
        "project": owner.project,
        "state": key.state().value,
        "label": key.state_label(),
        "ends_at": key.ends_at(),
    }


def _projects(standing: Standing, *, is_rejected: bool) -> list[str]:
    """Return the names of the projects in which a token is denied, or else rejected."""
    found = (each for each in standing.denials if each.is_rejected == is_rejected)
    return list(dict.fromkeys(str(each.project) for each in found))


def _neighbours(key: AnyKey, owner: Tokens) -> dict[str, Any]:
    """Return the ID of the successor, and the URLs of the keys before and after ``key``."""
    may_have_one = key.rotated_at or key.state() not in UNENDED
    successor = facts.successor_id(key) if may_have_one else None
    replaces: Any = key.replaces
    return {
        "successor_id": successor,
        "successor_url": successor and owner.url("key", SimpleNamespace(public_id=successor)),
        "predecessor_url": owner.url("key", replaces) if replaces else None,
        "revoke_predecessor": owner.url("revoke", replaces) if replaces else None,
        "is_old_unused": replaces is not None and _is_unused_since_rotation(replaces),
    }


def _is_unused_since_rotation(key: AnyKey) -> bool:
    """Whether ``key`` was rotated, and not used in the hour or more since then."""
    used, rotated = key.last_used_at, key.rotated_at
    if rotated is None or timezone.now() - rotated < IN_USE:
        return False
    return used is None or used <= rotated


def creators_of(keys: Iterable[AnyKey]) -> dict[str, str]:
    """Return who created the project keys whose creator was deleted, by their IDs.

    A key that a command or the site's own code created has no creator. Makes one query if a key
    has none.
    """
    ids = [key.public_id for key in keys if getattr(key, "created_by", key) is None]
    if not ids:
        return {}
    made = AuditEvent.objects.filter(public_id__in=ids, event=Event.MINTED).exclude(by="")
    return dict.fromkeys(made.values_list("public_id", flat=True), _("a deleted user"))


def _standings(keys: list[AnyKey], owner: Tokens, now: datetime) -> dict[str, Standing]:
    """Return where the unended tokens are denied or pending approval, by their IDs.

    A denied project key is paused, so it needs no further mark.
    """
    tokens: list[Any] = [key for key in keys if key.state(now) in UNENDED]
    if owner.project is not None or not tokens:
        return {}
    return standings_of(tokens, owner.user)


def _columns(key: AnyKey, names: Iterable[str]) -> Iterator[facts.Fact]:
    """Return the facts to show. The end of a revoked key replaces when it would have expired."""
    for name in names:
        is_over = name == "expires_at" and key.revoked_at is not None
        yield facts.BY_NAME["revoked_at" if is_over else name]


def restrictions_of(key: AnyKey) -> list[tuple[Restriction, str]]:
    """Return each restriction of ``key`` and its value as display text."""
    restricted = restrictions.nonempty(restrictions.of(key))
    return [(each, each.display(value)) for each, value in restricted]


def pauses(key: AnyKey, now: datetime) -> list[restrictions.Pause]:
    """Return which restrictions pause ``key``. Empty for a key that is refused anyway."""
    is_working = key.state(now) in ("live", "pending")
    return [] if not is_working else restrictions.pauses(restrictions.of(key), now)


def _texts(key: AnyKey) -> list[tuple[str, str]]:
    """Return the label and the value of each optional text of ``key`` that is set."""
    found = ((column.verbose_name, getattr(key, name)) for name, column in OPTIONAL.items())
    return [(capfirst(label), text) for label, text in found if text]


def labelled(names: Iterable[str]) -> list[tuple[str, str]]:
    declared = scopes.declared()
    return [(name, declared.get(name, name)) for name in names]


def chain_of(key: AnyKey, owner: Tokens) -> list[dict[str, Any]]:
    """Return the rotation chain of ``key``, newest first, up to 10 keys in each direction."""
    newer: list[Any] = key.successors(_MOST_OF_CHAIN)
    older: list[Any] = key.predecessors(_MOST_OF_CHAIN)
    chain = [*reversed(newer), key, *older]
    return [
        {"key": k, "state": k.state(), "label": k.state_label(), "url": owner.url("key", k)}
        for k in chain
    ]


def ended_uses_of(key: AnyKey, owner: Tokens) -> list[dict[str, Any]]:
    """Return the uses after their end of ``key`` and of the keys that it replaced."""
    keys: list[Any] = [key, *key.predecessors(_MOST_OF_CHAIN)]
    return [
        {**used._asdict(), "is_own": used.key == key, "url": owner.url("key", used.key)}
        for used in ended.ended_uses(keys)
    ]
