"""Deny a credential in a project, and allow it again."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from .. import audit, lifecycle
from ..access import Access
from ..audit import About, Event
from ..conf import slug_of
from ..databases import transactions
from ..databases.primary import reading_primary
from ..decisions import OAUTH, PERSONAL_ACCESS_TOKEN, PROJECT_KEY
from ..errors import LifecycleError
from ..grants import NOTHING, Extent, Grant
from ..keys import ended
from ..lifecycle import descendants, ending, locking, permitted
from ..limits import networks
from ..models import (
    AnyKey,
    AuditEvent,
    PersonalAccessToken,
    ProjectAccess,
    ProjectKey,
    ProjectRules,
    live,
)
from ..models.audit import CLIENT
from ..signals import key_resumed
from . import notices, sources
from .entries import Entry
from .shown import Shown, decision_of, facts_of

#: The longest name of an event, in characters. An application may have a longer one.
_MOST: Final = AuditEvent._meta.get_field("name").max_length

#: The columns of a decision that ends a denial.
_ALLOWED: Final = {"is_denied": False, "is_rejected": False, "reason": ""}

#: Locks the tokens of an application and a user, so that none creates a key meanwhile.
Lock = Callable[[Any, Any], None]
_locks: list[Lock] = []


def register(lock: Lock) -> None:
    """Register ``lock`` for the tokens of applications."""
    if lock not in _locks:
        _locks.append(lock)


@transactions.retried
@reading_primary()
def deny(
    project: Any,
    entry: Entry,
    *,
    reason: str = "",
    by: Any = None,
    using: Access | None = None,
    shown: Shown | None = None,
) -> bool:
    """Refuse a credential in ``project`` from the next request on.

    With it, refuse everything that was created with it or rotated from it. A project key is
    paused. Return ``False`` if the credential was already denied. Pass ``shown`` to refuse a
    decision if there was another since. Raises ``LifecycleError`` (``unknown_credential``,
    ``reason_too_long``, ``invalid_reason``, ``secret_in_text``, ``changed_meanwhile``).
    """
    reason = " ".join(reason.split())
    with transactions.atomic(ProjectAccess), audit.together():
        first = _locked(project, entry)
        ending.check_reason(first or PersonalAccessToken(), reason, "paused_reason")
        row = _row(project, entry.decided_as, entry.id)
        if shown is not None:
            # Not the facts: otherwise, the owner could prevent a denial by editing the token.
            _check_shown(shown, project, entry, row)
        if row is not None and row.is_denied and not _is_with_another(row, project, entry, first):
            return False
        at = timezone.now()
        about = {"project": project, "is_denied": True, "reason": reason, "by": by, "at": at}
        named = {"kind": entry.decided_as, "credential": entry.id}
        requested = _is_request(entry, row)
        _save(row, about | named | {"is_rejected": requested})
        keys: list[AnyKey] = []
        paused: list[AnyKey] = []
        # Each round finds the keys that one of the round before created while it was locked.
        while found := _locked_below(project, entry, first, known=keys):
            paused += [key for key in found if _deny(key, about, using, is_first=key == first)]
            keys += found
        with_it = [key for key in keys if key != first]
        facts = {"reason": reason, "requested": requested}
        _record(Event.DENIED, project, entry, by, using, facts=facts, with_it=with_it)
        instead = "paused" if first in paused else ""
        notices.later("denied", project, entry, by=by, instead=instead, facts=facts)
    return True


def _locked_below(
    project: Any, entry: Entry, first: AnyKey | None, known: list[AnyKey]
) -> list[AnyKey]:
    """Lock the unended keys of ``below`` that are not ``known``, and return them."""
    if first is None:
        _lock_created(entry)
    return locking.lock_unended([key for key in below(project, entry, first) if key not in known])


def _lock_created(entry: Entry) -> None:
    """Lock the tokens that an application created, so that none of them creates a key meanwhile."""
    name = f"client:{entry.client_pk}"
    rows = PersonalAccessToken._default_manager.filter(
        live(), user=entry.user_pk, upstream__contains=name
    )
    held: set[Any] = set()
    while found := set(rows.values_list("pk", flat=True)) - held:
        locking.lock_many(PersonalAccessToken, found)
        held |= found


def _deny(key: AnyKey, about: dict[str, Any], using: Access | None, *, is_first: bool) -> bool:
    """Deny a key together with another. Return whether this paused it."""
    kind = PROJECT_KEY if isinstance(key, ProjectKey) else PERSONAL_ACCESS_TOKEN
    known = _row(about["project"], kind, key.public_id)
    if not is_first and (known is None or not known.is_denied):
        _save(known, about | {"kind": kind, "credential": key.public_id})
    if kind != PROJECT_KEY:
        return False
    return lifecycle.pause(key, by=about["by"], reason=about["reason"], using=using)


@transactions.retried
@reading_primary()
def allow(
    project: Any,
    entry: Entry,
    *,
    by: Any = None,
    as_admin: bool = False,
    within: Grant | None = None,
    shown: Shown | None = None,
) -> bool:
    """Let a credential reach ``project`` again, or approve it.

    Everything that was denied with it is allowed too. Return ``False`` if the credential was
    neither denied nor pending. ``as_admin`` is as in ``lifecycle.resume``.
    If it is allowed with a credential, pass ``within``: it must cover all of this. Pass ``shown``
    to allow no more than a page showed. Raises ``LifecycleError`` (``unknown_credential``,
    ``held_key``, ``created_with_key``, ``credential_changed``, ``changed_meanwhile``, or a code of
    ``mint`` about ``within``).
    """
    using = locking.credential_of(within)
    with transactions.atomic(ProjectAccess), audit.together():
        holder = locking.lock_all(None, within)
        first = _locked(project, entry)
        row = _row(project, entry.decided_as, entry.id)
        if shown is not None:
            _check_shown(shown, project, entry, row, facts_of(first, entry.scope))
        if row is not None and not row.is_denied:
            return False
        if row is None and not entry.awaits:
            return False
        together = _together(row, below(project, entry, first)) if row is not None else []
        keys = [first, *(key for _row, key in together if key != first)]
        _check_within(within, holder, project, entry, [key for key in keys if key is not None])
        now = timezone.now()
        resumed = [
            key
            for denied, key in together
            if _allow(denied, key, by, as_admin, using, is_first=key == first)
        ]
        about = {"project": project, "kind": entry.decided_as, "credential": entry.id}
        requested = _is_request(entry, row)
        _save(row, about | _ALLOWED | {"by": by, "at": now})
        with_it = [key for _row, key in together if key != first]
        ended.forget_denial(project, _tokens_of(entry, keys))
        facts = {"requested": requested}
        _record(Event.ALLOWED, project, entry, by, using, facts=facts, with_it=with_it)
        instead = "resumed" if first in resumed else ""
        notices.later("allowed", project, entry, by=by, instead=instead, facts=facts)
    return True


def _check_shown(
    shown: Shown, project: Any, entry: Entry, row: ProjectAccess | None, facts: str | None = None
) -> None:
    """Raise ``LifecycleError`` unless the locked ``row`` and ``facts`` are as shown."""
    is_token = entry.kind == PERSONAL_ACCESS_TOKEN
    awaits = is_token and row is None and sources.requires_approval(project)
    is_same = shown.decision == decision_of(row, awaits=awaits)
    if not is_same or facts not in (None, shown.facts):
        message = _(
            "The credential, or the decision about it, has changed since you opened the page. "
            "Check it and decide again."
        )
        raise LifecycleError("changed_meanwhile", message)


def _tokens_of(entry: Entry, keys: Iterable[AnyKey | None]) -> list[str]:
    """Return the IDs of the tokens that are allowed with ``entry``. It may have created some."""
    if entry.kind != OAUTH:
        return [key.public_id for key in keys if isinstance(key, PersonalAccessToken)]
    client, user = f"client:{entry.client_pk}", f"user:{entry.user_pk}"
    rows = PersonalAccessToken._default_manager.filter(*_containing([client]))
    return [
        public_id
        for public_id, upstream, owner in rows.values_list("public_id", "upstream", "user")
        if client in (names := upstream.split()) and (owner == entry.user_pk or user in names)
    ]


def _check_within(
    within: Grant | None, holder: AnyKey | None, project: Any, entry: Entry, keys: list[AnyKey]
) -> None:
    """Check that a credential covers what it allows, as for ``lifecycle.resume``."""
    if within is None:
        return
    if entry.kind == OAUTH:
        permitted.check_within(within, replace(NOTHING, scope=entry.scope))
    for key in keys:
        permitted.check_within(within, replace(Extent.of(key), projects=frozenset([project])))
        descendants.check_apart(holder, key)


def _is_with_another(row: ProjectAccess, project: Any, entry: Entry, first: AnyKey | None) -> bool:
    """Return whether ``row`` was written because a credential above it was denied."""
    ids = {key.public_id for key in below(project, entry, first)}
    together = ProjectAccess.objects.filter(project=project, at=row.at, is_denied=True)
    return not ids.issuperset(together.exclude(pk=row.pk).values_list("credential", flat=True))


@reading_primary()
def require_approval(project: Any, required: bool, *, by: Any = None) -> None:
    """Set whether personal access tokens reach ``project`` only once someone approves them."""
    with transactions.atomic(ProjectRules):
        rules, _is_new = ProjectRules.objects.select_for_update().get_or_create(project=project)
        if rules.approves_tokens == required:
            return
        diff = {"approves_tokens": {"before": not required, "after": required}}
        rules.approves_tokens = required
        rules.save(update_fields=["approves_tokens"])
        about = About(ProjectKey._meta.model_name or "", "", slug_of(project), project)
        ip = networks.current_ip()
        audit.save(audit.compose_about(Event.EDITED, about, by=by, ip=ip, changes=diff))


def _locked(project: Any, entry: Entry) -> AnyKey | None:
    """Lock the key of ``entry``, or the tokens of its application. Return the key."""
    if entry.kind == OAUTH:
        for lock in _locks:
            lock(entry.client_pk, entry.user_pk)
        return None
    model: Any = PersonalAccessToken if entry.kind == PERSONAL_ACCESS_TOKEN else ProjectKey
    rows = model._default_manager.filter(live(), public_id=entry.id)
    key: AnyKey | None = (rows if entry.user_pk else rows.filter(project=project)).first()
    if key is None:
        raise LifecycleError("unknown_credential", _("This credential no longer exists."))
    locking.lock(key)
    return key


def _row(project: Any, kind: str, credential: str) -> ProjectAccess | None:
    rows = ProjectAccess.objects.filter(project=project, kind=kind, credential=credential)
    return rows.select_for_update().first()


def _is_request(entry: Entry, row: ProjectAccess | None) -> bool:
    """Return whether a decision answers a request: the token is pending approval, or rejected."""
    # A worker of an older version allows a token and leaves ``is_rejected``.
    return entry.awaits if row is None else row.is_denied and row.is_rejected


def _save(row: ProjectAccess | None, values: dict[str, Any]) -> None:
    row = row or ProjectAccess()
    for name, value in values.items():
        setattr(row, name, value)
    row.save()


def below(project: Any, entry: Entry | None, first: AnyKey | None) -> list[AnyKey]:
    """Return the unended keys to decide together with ``entry``: its chain and its descendants.

    The project keys among them are keys of ``project``. Tokens that an application created are
    left out: requests with them compare the application itself.
    """
    if first is not None:
        chain: list[Any] = first.chain()
        keys = [key for key in chain if key == first or key.state() not in locking.ENDED]
        keys += descendants.below(chain)
        return [key for key in keys if getattr(key, "project_id", project.pk) == project.pk]
    if entry is None:
        return []
    names = {f"client:{entry.client_pk}", f"user:{entry.user_pk}"}
    rows = ProjectKey._default_manager.filter(live(), *_containing(names), project=project)
    return [key for key in rows.order_by("pk") if names <= set(key.upstream.split())]


def _containing(names: Iterable[str]) -> list[Q]:
    return [Q(upstream__contains=name) for name in sorted(names)]


def _together(row: ProjectAccess, keys: list[AnyKey]) -> list[tuple[ProjectAccess, AnyKey]]:
    """Return the decisions that were made together with ``row``: at the same microsecond."""
    rows = ProjectAccess.objects.filter(
        project=row.project_id,
        at=row.at,
        is_denied=True,
        credential__in=[key.public_id for key in keys],
    )
    by_id = {each.credential: each for each in rows.select_for_update()}
    return [(by_id[key.public_id], key) for key in keys if key.public_id in by_id]


def _allow(
    row: ProjectAccess,
    key: AnyKey,
    by: Any,
    as_admin: bool,
    using: Access | None,
    *,
    is_first: bool,
) -> bool:
    """Allow a key again. Return whether this resumed it."""
    is_resumed = False
    # A key that was paused before the denial stays paused.
    if isinstance(key, ProjectKey) and key.paused_at is not None and key.paused_at >= row.at:
        if key.is_held and not (is_first or as_admin):
            return False
        is_resumed = lifecycle.resume(key, by=by, as_admin=as_admin, using=using)
    if not is_first:
        row.delete()  # an ``allowed`` row would approve it
    return is_resumed


def _resumed(key: AnyKey, **kwargs: Any) -> None:
    """Drop the denial of a project key that was resumed: it works again."""
    if isinstance(key, ProjectKey):
        rows = ProjectAccess.objects.filter(kind=PROJECT_KEY, credential=key.public_id)
        rows.filter(is_denied=True).update(**_ALLOWED)


def _record(
    event: Event,
    project: Any,
    entry: Entry,
    by: Any,
    using: Access | None,
    *,
    facts: dict[str, Any],
    with_it: list[AnyKey],
) -> None:
    """Write the event to the log of the credential's owner, and to that of the project."""
    changes = {
        "project": slug_of(project),
        **{name: value for name, value in facts.items() if value},
    }
    # Managers of the project learn nothing about tokens that do not reach it.
    reaching = [key for key in with_it if (found := key.reach()) is None or project in found]
    changes |= {"with": [key.public_id for key in reaching]} if reaching else {}
    told = {"by": by, "using": using, "ip": networks.current_ip(), "changes": changes}
    owner = notices.owner_of(project, entry)
    kinds = {PERSONAL_ACCESS_TOKEN: PersonalAccessToken._meta.model_name, OAUTH: CLIENT}
    name = entry.name[:_MOST]
    of_owner = About(kinds.get(entry.kind) or "", entry.id, name, owner)
    of_project = About(ProjectKey._meta.model_name or "", entry.id, name, project)
    for about in (of_owner, of_project) if entry.user_pk is not None else (of_project,):
        audit.save(audit.compose_about(event, about, **told))


def connect() -> None:
    """Drop the denial of a project key when it is resumed. ``AppConfig.ready`` calls this."""
    key_resumed.connect(_resumed, dispatch_uid="apikeys.reach")
