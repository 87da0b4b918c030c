"""Narrow a key to the scopes and projects that it used, and undo that for seven days."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone
from django.utils.translation import gettext as _

from .. import audit, scopes, token
from ..audit import Event
from ..conf import slug_of
from ..databases import transactions
from ..databases.primary import reading_primary
from ..errors import LifecycleError
from ..grants import Grant
from ..models import AnyKey, AuditEvent
from ..usage import scope_uses
from ..usage.scope_uses import Used
from . import locking
from .editing import KEEP, edit

#: How far back a use counts, in days.
DAYS: Final = 90
#: How long uses must have been recorded before a key can be narrowed to them.
LEAST: Final = timedelta(days=7)
#: The most days that a caller may ask for. The least is ``LEAST``.
MOST_DAYS: Final = 730
#: How long a narrowing can be undone.
UNDO_FOR: Final = timedelta(days=7)
#: Marks the event of a narrowing in the audit log. Its value says what was removed.
MARK: Final = "kept_used"

_READ, _WRITE = ":read", ":write"
_MOST_OF_CHAIN: Final = 10


@dataclass(frozen=True, slots=True)
class Uses:
    """The scopes and projects of a key, and its uses of them."""

    #: The granted scopes in order, with their uses; ``None`` for a scope that was never used.
    #: The use of an implied scope counts for the scope that implies it.
    scopes: Mapping[str, Used | None]
    #: The granted scopes that were used since ``since``.
    recent: tuple[str, ...]
    #: The scopes that would stay: only ``x:read`` of ``x:write`` if nothing was written.
    keep: tuple[str, ...]
    #: The selected projects that would stay; ``None`` if the projects stay as they are.
    projects: tuple[Any, ...] | None
    #: The selected projects that would go.
    projects_removed: tuple[Any, ...]
    #: From when on uses are considered.
    since: datetime
    #: Whether ``since`` is when the key, or the first key of its chain, was created.
    is_since_creation: bool
    #: Whether uses were recorded in all of the last ``days``.
    is_whole: bool
    days: int

    @property
    def is_used(self) -> bool:
        """Whether any granted scope was used since ``since``."""
        return bool(self.recent)

    @property
    def removed(self) -> tuple[str, ...]:
        """The granted scopes that would go."""
        return tuple(name for name in self.scopes if name not in self.keep)

    @property
    def added(self) -> tuple[str, ...]:
        """The scopes that would take the place of wider ones: ``x:read`` for ``x:write``."""
        return tuple(name for name in self.keep if name not in self.scopes)

    @property
    def is_long_enough(self) -> bool:
        """Whether uses have been recorded for at least seven days."""
        return timezone.now() - self.since >= LEAST

    @property
    def is_narrowable(self) -> bool:
        """Whether the key can be narrowed to something that it used."""
        return self.refusal is None

    @property
    def refusal(self) -> LifecycleError | None:
        """Why the key cannot be narrowed to what it used; ``None`` if it can."""
        if not self.is_used:
            message = _(
                "This key used none of its permissions. Revoke or pause it if nothing needs it."
            )
            return LifecycleError("nothing_used", message)
        if not self.is_long_enough:
            message = _(
                "This site has recorded the uses of this key for less than 7 days. Try again later."
            )
            return LifecycleError("too_new", message)
        if not (self.removed or self.projects_removed):
            message = _("This key used all its permissions and projects.")
            return LifecycleError("nothing_unused", message)
        return None

    @property
    def mark(self) -> str:
        """The remaining scopes and projects as text. A page compares it with its earlier state."""
        projects = [] if self.projects is None else sorted(str(p.pk) for p in self.projects)
        return " ".join(self.keep) + "|" + " ".join(projects)


@reading_primary()
def uses(key: AnyKey, days: int = DAYS) -> Uses:
    """Return what ``key`` used of what it may do, in the last ``days``.

    Keys that it replaced by rotation count too. Takes up to six queries.
    """
    chain: list[Any] = [key, *key.predecessors(_MOST_OF_CHAIN)]
    kind = token.KIND_NAMES[key.KIND]
    credentials = [(kind, each.public_id) for each in chain]
    created = min(each.created_at for each in chain)
    recorded = scope_uses.recorded_since()
    before = timezone.now() - timedelta(days=days)
    since = max(created, before, recorded or created)
    found = scope_uses.of(credentials)
    granted = {name: _used_through(name, key.scopes, found) for name in key.scopes}
    recent = {name for name, use in found.items() if use.last >= since}
    projects, gone = _projects(key, credentials, since)
    return Uses(
        scopes=granted,
        recent=tuple(name for name, use in granted.items() if use and use.last >= since),
        keep=scopes.split(" ".join(_kept(key.scopes, recent))),
        projects=projects,
        projects_removed=gone,
        since=since,
        is_since_creation=since == created,
        is_whole=since == before,
        days=days,
    )


@reading_primary()
def own_uses(key: AnyKey) -> Mapping[str, Used | None]:
    """Return the uses of each granted scope by ``key``, but not by the keys that it replaced.

    Makes one query.
    """
    found = scope_uses.of([(token.KIND_NAMES[key.KIND], key.public_id)])
    return {name: _used_through(name, key.scopes, found) for name in key.scopes}


def _used_through(name: str, granted: tuple[str, ...], found: Mapping[str, Used]) -> Used | None:
    """Return the uses of a granted scope, and of the scope that only it implies."""
    own, read = found.get(name), name.removesuffix(_WRITE) + _READ
    implied = None if not name.endswith(_WRITE) or read in granted else found.get(read)
    if own is None or implied is None:
        return own or implied
    return Used(
        min(own.first, implied.first), max(own.last, implied.last), own.requests + implied.requests
    )


def _kept(granted: tuple[str, ...], used: set[str]) -> set[str]:
    kept = used.intersection(granted)
    for name in granted:
        read = name.removesuffix(_WRITE) + _READ
        if name.endswith(_WRITE) and name not in used and read in used:
            # A site may declare only the scope to write.
            kept.add(read if read in granted or not scopes.unknown([read]) else name)
    return kept


def _projects(
    key: AnyKey, credentials: list[tuple[str, str]], since: datetime
) -> tuple[tuple[Any, ...] | None, tuple[Any, ...]]:
    """Return the selected projects that were used and the others."""
    reached = key.reach() if key.SELECTS_PROJECTS else None
    if reached is None or len(reached) < 2:
        return None, ()
    used = scope_uses.projects_of(credentials, since)
    kept = tuple(project for project in reached if str(project.pk) in used)
    if not kept or "" in used:  # some requests named no single project
        return None, ()
    return kept, tuple(project for project in reached if project not in kept)


def refusal(key: AnyKey, found: Uses) -> LifecycleError | None:
    """Return the error with which ``keep_used`` would refuse ``key`` now; ``None`` if it works."""
    try:
        locking.check_live(key)
    except LifecycleError as error:
        return error
    return found.refusal


@transactions.retried
@reading_primary()
def keep_used(
    key: AnyKey,
    *,
    days: int = DAYS,
    shown: str | None = None,
    by: Any = None,
    within: Grant | None = None,
) -> dict[str, tuple[Any, Any]]:
    """Remove the scopes and selected projects that ``key`` did not use in the last ``days``.

    Return ``{field: (before, after)}``. ``shown`` is the ``Uses.mark`` that a person confirmed.
    ``undo`` restores what was removed for seven days. Raises ``LifecycleError`` as ``edit`` does,
    or with ``nothing_used``, ``nothing_unused``, ``too_new`` or ``uses_changed``.
    """
    with transactions.atomic(type(key)):
        locking.lock_all(key, within)
        found = uses(key, days)
        if (error := refusal(key, found)) is not None:
            raise error
        if shown is not None and shown != found.mark:
            message = _(
                "The uses of this key have changed since you opened the page. Check the list again."
            )
            raise LifecycleError("uses_changed", message)
        gone = [str(project.pk) for project in found.projects_removed]
        with audit.marked(MARK, {"days": days, "scopes": [*found.removed], "projects": gone}):
            return edit(
                key,
                scopes=found.keep,
                projects=KEEP if found.projects is None else found.projects,
                by=by,
                within=within,
            )


@reading_primary()
def undoable(key: AnyKey) -> AuditEvent | None:
    """Return the event of the narrowing that ``undo`` would undo, or ``None``.

    It must be at most seven days old, and no later edit may have changed the scopes or projects.
    """
    rows = AuditEvent.objects.filter(
        public_id=key.public_id,
        kind=key._meta.model_name,
        event=Event.EDITED,
        at__gt=timezone.now() - UNDO_FOR,
    )
    for event in rows:  # newest first
        if not {"scopes", "projects"}.isdisjoint(event.changes):
            return event if _is_as_left(key, event) else None
    return None


def _is_as_left(key: AnyKey, event: AuditEvent) -> bool:
    """Return whether ``key`` may do exactly what this narrowing left."""
    changes = event.changes
    if not isinstance(changes.get(MARK), dict) or key.state() not in ("live", "pending"):
        return False
    if key.rotated_at is not None:
        return False
    left = changes.get("scopes", {}).get("after")
    if left is not None and list(key.scopes) != left:
        return False
    selected = changes.get("projects", {}).get("after")
    reached = key.reach() if key.SELECTS_PROJECTS else None
    return selected is None or (
        reached is not None and sorted(slug_of(each) for each in reached) == selected
    )


@transactions.retried
@reading_primary()
def undo(key: AnyKey, *, by: Any = None, within: Grant | None = None) -> dict[str, tuple[Any, Any]]:
    """Restore what ``keep_used`` removed. Return ``{field: (before, after)}``.

    It widens the key, so ``within`` must cover what is restored, as in ``edit``. Projects that
    were deleted stay away. Raises ``LifecycleError`` as ``edit`` does, or ``nothing_to_undo``.
    """
    with transactions.atomic(type(key)):
        locking.lock_all(key, within)
        locking.check_live(key)
        event = undoable(key)
        if event is None:
            message = _(
                "There is nothing to undo: 7 days have passed, or the key was edited since."
            )
            raise LifecycleError("nothing_to_undo", message)
        projects: Any = KEEP
        if gone := event.changes[MARK].get("projects"):
            projects = [*(key.reach() or ()), *_by_pk(key, gone)]
        before = event.changes.get("scopes", {}).get("before")
        with audit.marked("undone", True):
            return edit(
                key,
                scopes=KEEP if before is None else before,
                projects=projects,
                by=by,
                within=within,
            )


def _by_pk(key: Any, pks: list[str]) -> list[Any]:
    # By primary key: another project may have the slug now.
    model = type(key)._meta.get_field("projects").related_model
    return list(model._default_manager.filter(pk__in=pks))
