"""Mint, edit, approve, rotate, revoke: the only writers of keys."""

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypedDict, TypeVar, Unpack, overload

from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, connections, router, transaction
from django.db.models import Model, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from . import hashing, networks, rates, scopes, token
from .access import Access
from .conf import app_settings
from .grants import NOTHING, Extent, Grant
from .models import KEY_MODELS, PersonalAccessToken, ProjectKey, State, live
from .records import KINDS
from .redaction import redact_strictly
from .signals import key_approved, key_edited, key_minted, key_revoked, key_rotated

__all__ = [
    "KEEP",
    "MAX_NETWORKS",
    "MAX_OVERLAP",
    "MAX_RATES",
    "MAX_YEAR",
    "LifecycleError",
    "Minted",
    "approve",
    "edit",
    "mint",
    "reject",
    "revoke",
    "rotate",
]

#: The most that a key may have: time beside its successor, networks, and rate limits.
MAX_OVERLAP: Final = timedelta(days=7)
MAX_NETWORKS: Final = 100
MAX_RATES: Final = 5
#: The last in which a key may end: the end of the calendar cannot be shown in every time zone.
MAX_YEAR: Final = 9998

AnyKey = PersonalAccessToken | ProjectKey
K = TypeVar("K", bound=AnyKey)


class LifecycleError(ValueError):
    """What was asked for cannot be done: a ``code`` for programs, a sentence for people.

    ``field`` names the argument at fault, if it is one.
    """

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        message = redact_strictly(message)  # it may repeat what was given
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


@dataclass(frozen=True)
class Minted(Generic[K]):
    """A new key and its text, which is stored nowhere: show it once, then let it go."""

    key: K
    token: str = field(repr=False)


class _Keep:
    """The type of ``KEEP``."""


#: The default of an argument that says: as it was.
KEEP: Final = _Keep()

_renewals: dict[str, Callable[[Access], Access | None]] = {}


class _Terms(TypedDict, total=False):
    """What may be said of every new key; ``mint`` has the defaults."""

    expires_at: datetime | None
    allowed_networks: Iterable[str]
    rate_limits: Iterable[str]
    direct_use: bool
    public_id: str | None
    by: Any
    within: Grant | None


@overload
def mint(
    *,
    user: Any,
    name: str,
    scopes: Iterable[str],
    projects: Iterable[Any] | None = None,
    **terms: Unpack[_Terms],
) -> Minted[PersonalAccessToken]: ...


@overload
def mint(
    *,
    project: Any,
    name: str,
    scopes: Iterable[str],
    public_key: str | Mapping[str, Any] | None = None,
    **terms: Unpack[_Terms],
) -> Minted[ProjectKey]: ...


@sensitive_variables("text", "public_key")
def mint(
    *,
    user: Any = None,
    project: Any = None,
    name: str,
    scopes: Iterable[str],
    projects: Iterable[Any] | None = None,
    expires_at: datetime | None = None,
    allowed_networks: Iterable[str] = (),
    rate_limits: Iterable[str] = (),
    direct_use: bool = True,
    public_id: str | None = None,
    public_key: str | Mapping[str, Any] | None = None,
    by: Any = None,
    within: Grant | None = None,
) -> Minted[PersonalAccessToken] | Minted[ProjectKey]:
    """Make a personal access token (of ``user``) or a project key (of ``project``).

    ``projects`` restricts a personal access token to some of its user's projects; ``None``
    means all that the user is in, now and later. ``expires_at`` is ``None`` for a key
    without expiry. ``allowed_networks`` are CIDRs or addresses from which alone it may be
    used, ``rate_limits`` how often, such as ``1000/hour``; empty means without bound, or
    those of the credential in ``within``. ``direct_use=False`` keeps the key for the token
    endpoint: requests with it are refused.

    ``public_key``, in PEM or as a JWK, is for a project key without a secret: requests are
    signed with its other half (see ``apikeys.signatures``), and ``token`` is empty.

    ``by`` is the user who makes it, and ``within`` the most that they may give; ``None`` is
    for the site's own code and operators, who are bound by nothing but the policy's rules for
    the owner. ``public_id`` is an id of ``token.generate_id()`` that
    was kept from an earlier moment, so that doing the same twice makes one key.

    Raises ``LifecycleError`` with one of the codes ``name_required``, ``name_too_long``,
    ``invalid_name``, ``secret_in_text``, ``scope_required``, ``unknown_scope``,
    ``scope_not_grantable``, ``expiry_in_the_past``, ``expiry_required``, ``expiry_too_late``,
    ``outlives_credential``,
    ``inactive_user``, ``inactive_project``, ``project_required``, ``unknown_project``,
    ``project_not_grantable``, ``invalid_network``, ``network_not_allowed``,
    ``network_not_grantable``, ``resource_not_grantable``, ``too_many_networks``,
    ``invalid_rate_limit``,
    ``too_many_rate_limits``, ``rate_limit_not_grantable``, ``too_many_keys``,
    ``credential_changed`` and ``made_already`` (that ``public_id``), and of a public key
    ``invalid_public_key``, ``unsupported_public_key``, ``private_key_given``,
    ``public_key_reused``, ``exchange_needs_secret`` and ``signatures_unavailable``.
    """
    if (user is None) == (project is None):
        raise TypeError("mint() takes a user or a project, not both.")
    owner, now = project if user is None else user, timezone.now()
    scope, ends = _clean_scopes(scopes), _clean_expiry(expires_at, owner, now)
    using = _using(within)
    places = _clean_networks(allowed_networks, owner) or (using.allowed_networks if using else "")
    rate = _clean_rates(rate_limits) or (using.rate_limits if using else "")
    common = {
        "name": _clean_name(name),
        "scope": scope,
        "created_at": now,
        "expires_at": ends,
        "allowed_networks": places,
        "rate_limits": rate,
        "direct_use": direct_use,
        "is_pending": bool(to_approve(owner, scope)),
        "minted_with": using.revoked_with if using else "",
        "public_id": public_id or token.generate_id(),
    }
    if user is None:
        if projects is not None:
            raise TypeError("mint() takes projects only for a user.")
        if not getattr(project, "is_active", True):
            raise LifecycleError("inactive_project", _("This project is deactivated."), "project")
        selected = [project]
        key: Any = ProjectKey(project=project, created_by=by, **common)
    else:
        if public_key is not None:
            raise TypeError("A personal access token has a secret, never a public key.")
        if not user.is_active:
            raise LifecycleError("inactive_user", _("This user is deactivated."), "user")
        selected = [] if projects is None else _clean_projects(user, projects)
        key = PersonalAccessToken(user=user, all_projects=projects is None, **common)
    reached = None if projects is None and user else frozenset(selected)
    extent = Extent(scope, reached, ends, places, rate, direct_use)
    _check_within(within, extent)
    text = _seal(key) if public_key is None else _seal_with(key, public_key)
    try:
        with transaction.atomic(using=router.db_for_write(type(key))):
            if using is not None:
                _lock_all(None, within)
                _check_within(within, extent)
            _check_number(key)
            _save(key, selected)
            key_minted.send(type(key), key=key, by=by, using=using)
    except IntegrityError:
        if type(key)._default_manager.filter(public_id=key.public_id).exists():
            message = _("The key %(id)s was made already.") % {"id": key.public_id}
            raise LifecycleError("made_already", message) from None
        raise
    return Minted(key, text)


def edit(
    key: AnyKey,
    *,
    name: str | _Keep = KEEP,
    scopes: Iterable[str] | _Keep = KEEP,
    projects: Iterable[Any] | _Keep | None = KEEP,
    expires_at: datetime | _Keep | None = KEEP,
    allowed_networks: Iterable[str] | _Keep = KEEP,
    rate_limits: Iterable[str] | _Keep = KEEP,
    direct_use: bool | _Keep = KEEP,
    by: Any = None,
    within: Grant | None = None,
) -> dict[str, tuple[Any, Any]]:
    """Change a key, from the next request on. Returns ``{field: (before, after)}``.

    ``within`` bounds what is added; what the key has may stay or go. A credential that adds
    anything has to cover all of the key, because what is added applies to all of it: a scope
    in every project, a project with every scope. What needs an approval cannot be added:
    mint a key for it, which then awaits the approval, while this one works.

    Raises ``LifecycleError`` as ``mint`` does, and with ``revoked_key``, ``expired_key``,
    ``already_rotated``, ``unknown_key`` (it was deleted) and ``approval_required``.
    """
    if isinstance(key, ProjectKey) and not isinstance(projects, _Keep):
        raise TypeError("A project key has one project, for good.")
    with transaction.atomic(using=router.db_for_write(type(key))):
        _lock_all(key, within)
        if (error := _why_not_live(key)) is not None:
            raise error
        had = Extent.of(key)
        reached, scope, ends = had.projects, key.scope, key.expires_at
        if not isinstance(scopes, _Keep):
            scope = _clean_scopes(scopes, known=had.scope)
        if isinstance(key, PersonalAccessToken) and not isinstance(projects, _Keep):
            reached = None
            if projects is not None:
                reached = frozenset(_clean_projects(key.user, projects, had.projects or ()))
        if not isinstance(expires_at, _Keep) and expires_at != ends:
            ends = _clean_expiry(expires_at, key.owner, key.created_at)
        new_name = key.name if isinstance(name, _Keep) else _clean_name(name)
        places, rate = had.networks, had.rates
        if not isinstance(allowed_networks, _Keep):
            places = _clean_networks(allowed_networks, key.owner)
        if not isinstance(rate_limits, _Keep):
            rate = _clean_rates(rate_limits)
        direct = had.direct if isinstance(direct_use, _Keep) else direct_use
        if not direct and isinstance(key, ProjectKey) and key.public_key:
            raise _exchange_needs_secret()
        has = Extent(scope, reached, ends, places, rate, direct)
        _check_within(within, has, had)
        _check_approval(key, has, had)

        before, after = _told(key.name, had), _told(new_name, has)
        changes = {f: (before[f], after[f]) for f in before if before[f] != after[f]}
        if changes:
            fields = ["name", "scope", "expires_at", "is_pending", "direct_use"]
            fields += ["allowed_networks", "rate_limits"]
            key.allowed_networks, key.rate_limits, key.direct_use = places, rate, direct
            key.name, key.scope, key.expires_at = new_name, scope, ends
            key.is_pending = key.is_pending and bool(to_approve(key.owner, scope))
            if isinstance(key, PersonalAccessToken):
                fields.append("all_projects")
                key.all_projects = reached is None
                key.projects.set(reached or ())
            key.save(update_fields=fields)
            key_edited.send(type(key), key=key, by=by, using=_using(within), changes=changes)
    return changes


def bounds(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The networks, rates and direct use that are asked for, as fields of an ``Extent``."""
    found: dict[str, Any] = {}
    if "allowed_networks" in asked:
        found["networks"] = _parse_networks(asked["allowed_networks"])
    if "rate_limits" in asked:
        found["rates"] = _clean_rates(asked["rate_limits"])
    if "direct_use" in asked:
        found["direct"] = asked["direct_use"]
    return found


def approve(key: AnyKey, *, by: Any = None, within: Grant | None = None) -> None:
    """Let a key be used that awaits approval. Who may is the policy's ``may_approve``.

    ``within`` has to cover all of the key, where that is done with a credential.

    Raises ``LifecycleError`` with one of the codes ``not_pending``, ``revoked_key``,
    ``expired_key``, and those of ``within``, as ``mint`` does.
    """
    with transaction.atomic(using=router.db_for_write(type(key))):
        _lock_all(key, within)
        _check_pending(key)
        _check_within(within, Extent.of(key))
        key.is_pending, key.approved_at, key.approved_by = False, timezone.now(), by
        key.save(update_fields=["is_pending", "approved_at", "approved_by"])
        key_approved.send(type(key), key=key, by=by, using=_using(within))


def reject(key: AnyKey, *, by: Any = None, reason: str = "", using: Access | None = None) -> None:
    """Revoke a key that awaits approval. Raises as ``approve`` and ``revoke`` do."""
    with transaction.atomic(using=router.db_for_write(type(key))):
        _lock(key)
        _check_pending(key)
        revoke(key, by=by, reason=reason or _("Not approved."), using=using)


@sensitive_variables("text", "public_key")
def rotate(
    key: K,
    *,
    overlap: timedelta | None = None,
    expires_at: datetime | _Keep | None = KEEP,
    public_key: str | Mapping[str, Any] | None = None,
    by: Any = None,
    within: Grant | None = None,
) -> Minted[K]:
    """Make the successor of ``key``: the same but for its id and secret.

    The old key stays valid for ``overlap`` (0 to 7 days; by default the setting
    ``ROTATION_OVERLAP``), and never longer than it would have been. The new one expires
    when the old one would have, unless ``expires_at`` or a shorter ``longest_lifetime`` of
    the policy says otherwise. ``within`` has to cover all of the key: its secret is handed
    out, as at minting. So a successor that was made with another credential ends with that
    one, while a key that rotates itself goes on when its predecessor is revoked.

    A key that holds a public key is rotated by a new ``public_key``; so is a project key that
    is to have one in place of its secret.

    Of several rotations at the same moment one succeeds. Raises ``LifecycleError`` with
    one of the codes ``overlap_out_of_range``, ``expiry_in_the_past``, ``expiry_required``,
    ``expiry_too_late``, ``already_rotated``, ``revoked_key``, ``expired_key``,
    ``unknown_key``, ``scope_not_grantable``, ``project_not_grantable``,
    ``outlives_credential`` and ``credential_changed``, ``public_key_required``, and those that
    ``mint`` has for a public key.
    """
    overlap = app_settings.ROTATION_OVERLAP if overlap is None else overlap
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise LifecycleError(
            "overlap_out_of_range", _("The overlap must be from 0 to 7 days."), "overlap"
        )
    model = type(key)
    successor, text = _sealed_successor(key, public_key)  # slow, so before anything is locked
    with transaction.atomic(using=router.db_for_write(model)):
        _lock_all(key, within)
        if (error := _why_not_live(key)) is not None:
            raise error
        now, had = timezone.now(), Extent.of(key)
        if isinstance(expires_at, _Keep):
            ends = _within_lifetime(key.expires_at, key.owner, now)
        else:
            ends = _clean_expiry(expires_at, key.owner, now)
        _check_within(within, replace(had, expires_at=ends))
        successor.name, successor.scope, successor.expires_at = key.name, key.scope, ends
        successor.allowed_networks, successor.rate_limits = had.networks, had.rates
        successor.created_at, successor.replaces = now, key
        successor.is_pending, successor.minted_with = key.is_pending, key.minted_with
        successor.direct_use = key.direct_use
        if (using := _using(within)) and using.revoked_with != key.public_id:
            successor.minted_with = using.revoked_with  # which got to know its secret
        successor.approved_at, successor.approved_by = key.approved_at, key.approved_by
        if isinstance(key, PersonalAccessToken):
            successor.user, successor.all_projects = key.user, key.all_projects
        else:
            successor.project, successor.created_by = key.project, by or key.created_by
        key.rotated_at = now
        if key.expires_at is None or key.expires_at > now + overlap:
            key.expires_at = now + overlap
        key.save(update_fields=["rotated_at", "expires_at"])
        _save(successor, had.projects or ())
        key_rotated.send(model, key=key, by=by, using=_using(within), successor=successor)
    return Minted(successor, text)


def revoke(key: AnyKey, *, by: Any = None, reason: str = "", using: Access | None = None) -> bool:
    """End ``key`` now, for good, and every key that was made with it over the API.

    So do those that were made with the keys that it replaces, and with what those made: of
    what a thief made of a key nothing goes on, even if the key was rotated meanwhile.

    ``False`` if it was revoked before: the first one counts. Raises ``LifecycleError``
    (``reason_too_long``, ``invalid_reason``, ``secret_in_text``, ``unknown_key``).
    """
    limit = _max_length(key, "revoked_reason")
    if len(reason) > limit:
        message = _("A reason has at most %(limit)d characters.") % {"limit": limit}
        raise LifecycleError("reason_too_long", message, "reason")
    if not _is_text(reason):
        message = _("The reason has a character that cannot be shown.")
        raise LifecycleError("invalid_reason", message, "reason")
    _check_no_key_in(reason, "reason")
    with transaction.atomic(using=router.db_for_write(type(key))):
        _lock(key)
        if not _end(key, by, reason, using):
            return False
        makers = [key.public_id, *(each.public_id for each in key.predecessors())]
        known, doomed = set[str](), list[str]()
        while makers:
            known.update(makers)
            came_of = Q(minted_with__in=makers) | Q(replaces__public_id__in=doomed)
            made: list[AnyKey] = [
                child
                for model in KEY_MODELS.values()
                for child in model._default_manager.filter(came_of).order_by("pk")
                if child.public_id not in known
            ]
            for child in made:
                # One that has ended is over, but what came of it may not be.
                if child.state() in (State.LIVE, State.PENDING) and _locks(child):
                    why = _("Made with %(id)s, which was revoked.") % {"id": key.public_id}
                    _end(child, by, why, using)
            makers = doomed = [child.public_id for child in made]
    return True


def _end(key: AnyKey, by: Any, reason: str, using: Access | None) -> bool:
    if key.revoked_at is not None:
        return False
    key.revoked_at, key.revoked_by, key.revoked_reason = timezone.now(), by, reason
    key.save(update_fields=["revoked_at", "revoked_by", "revoked_reason"])
    key_revoked.send(type(key), key=key, by=by, using=using)
    return True


@sensitive_variables("secret")
def _seal(key: AnyKey) -> str:
    """Give ``key`` a secret; returns the whole text. Tens of milliseconds."""
    secret = token.generate_secret()
    key.root = hashing.make_root(secret)
    key.digest, key.pepper_id = hashing.make_digest(secret)
    return token.compose(app_settings.PREFIX, key.KIND, key.public_id, secret)


@sensitive_variables("public_key")
def _sealed_successor(key: AnyKey, public_key: str | Mapping[str, Any] | None) -> tuple[Any, str]:
    """What replaces ``key``, with a secret or a public key of its own so far, and its text."""
    successor: Any = type(key)()
    if public_key is None:
        if isinstance(key, ProjectKey) and key.public_key:
            message = _("This key has no secret: give the public key that is to replace its own.")
            raise LifecycleError("public_key_required", message, "public_key")
        return successor, _seal(successor)
    if not isinstance(key, ProjectKey):
        raise TypeError("A personal access token has a secret, never a public key.")
    successor.project, successor.direct_use = key.project, key.direct_use
    return successor, _seal_with(successor, public_key)


@sensitive_variables("given")
def _seal_with(key: ProjectKey, given: str | Mapping[str, Any]) -> str:
    """Give ``key`` a public key and no secret; returns its text: there is none."""
    key.public_key = clean_public_key(given)
    if not key.direct_use:
        raise _exchange_needs_secret()
    keys = ProjectKey._default_manager.filter(project=key.project, public_key=key.public_key)
    if keys.exists():
        message = _("Another key of this project has, or had, this public key. Make a new pair.")
        raise LifecycleError("public_key_reused", message, "public_key")
    # No secret has this digest; under a pepper that is known, nothing slower is tried.
    key.root, key.digest, key.pepper_id = "", "", hashing.current_pepper_id()
    return ""


def _exchange_needs_secret() -> LifecycleError:
    message = _("The token endpoint takes keys with a secret: one that signs is used directly.")
    return LifecycleError("exchange_needs_secret", message, "direct_use")


def _save(key: AnyKey, selected: Iterable[Any]) -> None:
    key.save(force_insert=True)
    if isinstance(key, PersonalAccessToken) and not key.all_projects:
        key.projects.set(selected)


def _lock(key: AnyKey) -> None:
    """Bring ``key`` up to date, and keep others from writing it until the transaction ends."""
    rows = _rows(key)
    if not connections[rows.db].features.has_select_for_update:
        _hold(key)
    try:
        key.refresh_from_db(from_queryset=rows.select_for_update())
    except ObjectDoesNotExist:
        raise LifecycleError("unknown_key", _("There is no such key any more.")) from None


def _locks(key: AnyKey) -> bool:
    """As ``_lock``; ``False`` if the key is gone."""
    try:
        _lock(key)
    except LifecycleError:
        return False
    return True


def _hold(row: Model) -> None:
    """Keep others from writing ``row`` until the transaction ends."""
    rows = _rows(row).filter(pk=row.pk)
    if connections[rows.db].features.has_select_for_update:
        list(rows.select_for_update().values_list("pk"))
    else:
        rows.update(**{row._meta.pk.attname: row.pk})  # takes SQLite's lock


def _rows(row: Model) -> Any:
    model: Any = row._meta.model  # not its type: request.user is a lazy wrapper
    return model._default_manager.using(router.db_for_write(model))


def register(kind: str, renew: Callable[[Access], Access | None]) -> None:
    """Have ``renew`` asked what an ``Access`` of this kind is now; ``None``: it has ended.

    It keeps others from changing what it reads until the transaction ends.
    """
    _renewals[kind] = renew


def _lock_all(key: AnyKey | None, within: Grant | None) -> None:
    """Lock ``key``, and the key that it is changed with, in one order for everybody.

    So a credential that is narrowed or ended at the same moment gives nothing any more.
    """
    using = _using(within)
    holder = None if using is None else _holder(key, using)
    rows = {row for row in (key, holder) if row is not None}
    for row in sorted(rows, key=lambda row: (isinstance(row, ProjectKey), row.pk)):
        if row is key:
            _lock(row)
        elif not _locks(row):
            holder = None
    if using is not None and not _is_as_it_was(using, holder):
        message = _("The credential that you use was changed just now. Try again.")
        raise LifecycleError("credential_changed", message)


def _holder(key: AnyKey | None, using: Access) -> AnyKey | None:
    """The key that ``using`` is, or was got with: ``key`` itself, if it is that one."""
    if using.kind not in KINDS and not using.key:
        return None
    if key is not None and key.public_id == using.revoked_with:
        return key
    model: Any = PersonalAccessToken if using.project is None else ProjectKey
    holder: AnyKey | None = model._default_manager.filter(public_id=using.revoked_with).first()
    return holder


def _is_as_it_was(using: Access, holder: AnyKey | None) -> bool:
    if using.kind not in KINDS:
        if holder is None and using.key:
            return False
        renew = _renewals.get(using.kind)  # of the site's own making, if there is none
        now = using if renew is None else renew(using)
        return now is not None and _bounds(now) == _bounds(using)
    if holder is None or holder.state() is not State.LIVE or not holder.direct_use:
        return False
    is_selective = not getattr(holder, "all_projects", True)
    return (*_common_bounds(holder), is_selective) == _bounds(using)


def _bounds(access: Access) -> tuple[Any, ...]:
    """What to compare; which projects are selected is read anew where it counts."""
    return *_common_bounds(access), access.selected is not None


def _common_bounds(each: Access | AnyKey) -> tuple[Any, ...]:
    return each.scope, each.expires_at, each.allowed_networks, each.rate_limits


def _using(within: Grant | None) -> Access | None:
    return within.using if within else None


def _told(name: str, extent: Extent) -> dict[str, Any]:
    """What an edit can change, as it is told: plain values."""
    projects = extent.projects
    return {
        "name": name,
        "scopes": list(scopes.split(extent.scope)),
        "projects": None if projects is None else sorted(p.slug for p in projects),
        "expires_at": extent.expires_at.isoformat() if extent.expires_at else None,
        "allowed_networks": extent.networks.split(),
        "rate_limits": extent.rates.split(),
        "direct_use": extent.direct,
    }


def _why_not_live(key: AnyKey) -> LifecycleError | None:
    state = key.state()
    if state is State.REVOKED:
        return LifecycleError("revoked_key", _("This key was revoked. Mint a new one."))
    if key.rotated_at is not None:
        successor = key.successor
        message = _("This key was rotated already. Use its successor %(id)s instead.") % {
            "id": successor.public_id if successor else "?"
        }
        return LifecycleError("already_rotated", message)
    if state is State.EXPIRED:
        return LifecycleError("expired_key", _("This key has expired. Mint a new one."))
    return None


def _check_no_key_in(text: str, field: str) -> None:
    if token.holds_key(text):
        message = _("That holds a key. Write its id instead: the 16 characters before the secret.")
        raise LifecycleError("secret_in_text", message, field)


def _check_pending(key: AnyKey) -> None:
    if (error := _why_not_live(key)) is not None:
        raise error
    if not key.is_pending:
        raise LifecycleError("not_pending", _("This key does not await an approval."))


def to_approve(owner: Any, scope: str) -> list[str]:
    """Those scopes that need an approval, implied ones included."""
    policy = app_settings.POLICY
    return sorted(name for name in scopes.expand(scope) if policy.needs_approval(owner, name))


def _check_approval(key: AnyKey, has: Extent, had: Extent) -> None:
    if not has.wider(had):
        return
    added = has.scopes_beyond(had) if has.projects_beyond(had) == frozenset() else has.scope
    new = to_approve(key.owner, " ".join(added) if isinstance(added, list) else added)
    if key.is_pending or new:
        message = _(
            "What needs an admin's approval cannot be widened: narrow this key, or mint a new "
            "one and have that approved."
        )
        raise LifecycleError("approval_required", message, "scopes")


def _check_within(grant: Grant | None, has: Extent, had: Extent = NOTHING) -> None:
    """What ``has`` reaches beyond ``had`` must be the grantor's to give."""
    if grant is None:
        return
    if grant.using is not None and has.wider(had):
        had = NOTHING
        if grant.using.is_for_some_resources:
            message = _("Your access token is for some addresses only, and a key is for all.")
            raise LifecycleError("resource_not_grantable", message)
    if lacking := sorted(set(has.scopes_beyond(had)) - grant.scopes):
        message = _("You cannot give the scope %(scopes)s: you do not have it here.") % {
            "scopes": ", ".join(lacking)
        }
        raise LifecycleError("scope_not_grantable", message, "scopes")
    projects = has.projects_beyond(had)
    if projects is None:
        if not grant.all_projects:
            message = _("Your credential reaches some projects only: select among those.")
            raise LifecycleError("project_not_grantable", message, "projects")
    elif projects:
        reached = set(grant.projects.filter(pk__in=[p.pk for p in projects]))
        if lacking := sorted(p.slug for p in projects - reached):
            message = _("You cannot give the project %(projects)s: you do not reach it.") % {
                "projects": ", ".join(lacking)
            }
            raise LifecycleError("project_not_grantable", message, "projects")
    latest = grant.latest_expiry
    outlives = latest is not None and (has.expires_at is None or has.expires_at > latest)
    if outlives and has.lives_beyond(had):
        message = _("The key must expire no later than the credential you use, at %(at)s.")
        at = {"at": latest.isoformat() if latest else ""}
        raise LifecycleError("outlives_credential", message % at, "expires_at")
    if grant.using is not None and had is NOTHING:
        bounds = Extent("", None, None, grant.using.allowed_networks, grant.using.rate_limits)
        if has.networks_beyond(bounds):
            message = _("The key must be kept to the networks of the credential you use: %(all)s.")
            names = {"all": ", ".join(bounds.networks.split())}
            raise LifecycleError("network_not_grantable", message % names, "allowed_networks")
        if has.rates_beyond(bounds):
            message = _("The key must have the rate limits of the credential you use: %(all)s.")
            names = {"all": ", ".join(bounds.rates.split())}
            raise LifecycleError("rate_limit_not_grantable", message % names, "rate_limits")


def _check_number(key: AnyKey) -> None:
    owner = key.owner
    if (most := app_settings.POLICY.most_live_keys(owner)) is None:
        return
    _hold(owner)  # so that two at the same moment do not both count one too few
    of_owner = {"user" if isinstance(key, PersonalAccessToken) else "project": owner}
    alike = type(key)._default_manager.filter(live(), rotated_at=None, **of_owner)
    if alike.order_by()[:most].count() >= most:  # no further than it takes
        message = _("There are %(most)d live keys already, the most there may be. Revoke some.")
        raise LifecycleError("too_many_keys", message % {"most": most})


def _is_text(text: str) -> bool:
    """Whether ``text`` has only characters that databases take and terminals survive."""
    categories = {
        unicodedata.category(character) for character in text if character not in "\r\n\t"
    }
    return categories.isdisjoint(("Cc", "Cs"))


def _max_length(key: Any, name: str) -> int:
    return int(type(key)._meta.get_field(name).max_length)


def _clean_name(name: str) -> str:
    name = " ".join(name.split())
    limit = _max_length(ProjectKey(), "name")
    _check_no_key_in(name, "name")
    if not name:
        raise LifecycleError("name_required", _("Give the key a name."), "name")
    if len(name) > limit:
        message = _("A name has at most %(limit)d characters.") % {"limit": limit}
        raise LifecycleError("name_too_long", message, "name")
    if not _is_text(name):
        message = _("The name has a character that cannot be shown.")
        raise LifecycleError("invalid_name", message, "name")
    return name


def _clean_scopes(names: Iterable[str], known: str = "") -> str:
    names = list(names)
    if not names:
        raise LifecycleError("scope_required", _("Give the key at least one scope."), "scopes")
    if unknown := sorted(set(scopes.unknown(names)) - set(known.split())):
        message = _("No such scope: %(unknown)s. There are: %(known)s.") % {
            "unknown": ", ".join(unknown),
            "known": ", ".join(scopes.declared()),
        }
        raise LifecycleError("unknown_scope", message, "scopes")
    return scopes.join(names)


@sensitive_variables("given")
def clean_public_key(given: str | Mapping[str, Any]) -> str:
    """A public key as it is stored. What was given is repeated nowhere.

    Raises ``LifecycleError`` as ``mint`` does.
    """
    try:
        from .signatures import public_keys
    except ImportError:
        message = _("This site takes no signed requests: it lacks apikeys[signatures].")
        raise LifecycleError("signatures_unavailable", message, "public_key") from None
    try:
        return public_keys.to_pem(public_keys.parse(given))
    except public_keys.PrivateKeyGiven:
        code = "private_key_given"
        message = _(
            "This is a private key. Nothing of it was stored, but it has left its place: make a "
            "new pair, and send the public key alone."
        )
    except public_keys.UnsupportedPublicKey:
        code = "unsupported_public_key"
        message = _("Keys are Ed25519 or ECDSA P-256; this is another kind.")
    except public_keys.NotAPublicKey:
        code = "invalid_public_key"
        message = _("This is no public key. Send it in PEM (BEGIN PUBLIC KEY) or as a JWK.")
    raise LifecycleError(code, message, "public_key")


def _parse_networks(given: Iterable[str]) -> str:
    found = []
    for text in given:
        try:
            found.append(networks.parse_network(text))
        except ValueError:
            message = _(
                "%(text)s is not a network. Write one as 203.0.113.0/24 or 2001:db8::/32, or "
                "give a single address."
            ) % {"text": text[:60]}
            raise LifecycleError("invalid_network", message, "allowed_networks") from None
    if len(set(found)) > MAX_NETWORKS:
        message = _("A key has at most %(most)d networks.") % {"most": MAX_NETWORKS}
        raise LifecycleError("too_many_networks", message, "allowed_networks")
    return networks.join(found)


def _clean_networks(given: Iterable[str], owner: Any) -> str:
    text = _parse_networks(given)
    imposed = networks.parse_all(" ".join(app_settings.POLICY.allowed_networks(owner)))
    for network in networks.parse_all(text):
        if imposed and not any(
            networks.is_within(network, [each]) or networks.is_within(each, [network])
            for each in imposed
        ):
            message = _("Keys may be used from %(all)s only, and %(network)s is not there.") % {
                "all": ", ".join(map(str, imposed)),
                "network": network,
            }
            raise LifecycleError("network_not_allowed", message, "allowed_networks")
    return text


def _clean_rates(given: Iterable[str]) -> str:
    found = []
    for text in given:
        try:
            found.append(rates.parse(text))
        except ValueError:
            message = _("%(text)s is not a rate limit. Write it as 1000/hour or 10/second.") % {
                "text": text[:60]
            }
            raise LifecycleError("invalid_rate_limit", message, "rate_limits") from None
    if len(set(found)) > MAX_RATES:
        message = _("A key has at most %(most)d rate limits.") % {"most": MAX_RATES}
        raise LifecycleError("too_many_rate_limits", message, "rate_limits")
    return rates.join(found)


def check_expiry(expires_at: datetime | None) -> None:
    """Whatever the policy says: a key ends in the future, if at all, and within the calendar.

    Raises ``LifecycleError`` (``expiry_in_the_past``, ``expiry_too_late``).
    """
    if expires_at is not None and expires_at <= timezone.now():
        message = _("The expiry must be in the future.")
        raise LifecycleError("expiry_in_the_past", message, "expires_at")
    if expires_at is not None and expires_at.year > MAX_YEAR:
        message = _("The expiry must be no later than the year %(year)d.")
        raise LifecycleError("expiry_too_late", message % {"year": MAX_YEAR}, "expires_at")


def _clean_expiry(expires_at: datetime | None, owner: Any, start: datetime) -> datetime | None:
    check_expiry(expires_at)
    allowed = _within_lifetime(expires_at, owner, start)
    if expires_at is None and allowed is not None:
        raise _expiry_required()
    if allowed != expires_at:
        message = _("The expiry must be no later than %(days)d days after the key was made.")
        longest = app_settings.POLICY.longest_lifetime(owner)
        days = {"days": longest.days if longest else 0}
        raise LifecycleError("expiry_too_late", message % days, "expires_at")
    return expires_at


def _within_lifetime(expires_at: datetime | None, owner: Any, start: datetime) -> datetime | None:
    """``expires_at``, or the latest that the policy allows, if that is earlier."""
    policy = app_settings.POLICY
    if (longest := policy.longest_lifetime(owner)) is not None:
        latest = start + longest
        return latest if expires_at is None or expires_at > latest else expires_at
    if expires_at is None and not policy.allows_no_expiry(owner):
        raise _expiry_required()
    return expires_at


def _expiry_required() -> LifecycleError:
    return LifecycleError("expiry_required", _("Say when the key expires."), "expires_at")


def _clean_projects(user: Any, projects: Iterable[Any], known: Iterable[Any] = ()) -> list[Any]:
    projects = list(dict.fromkeys(projects))
    if not projects:
        message = _("Select at least one project, or allow all of them.")
        raise LifecycleError("project_required", message, "projects")
    own = set(app_settings.POLICY.projects(user).filter(pk__in=[p.pk for p in projects]))
    if strangers := [p for p in projects if p not in own and p not in known]:
        message = _("%(user)s is not in the project %(slugs)s.") % {
            "user": user.get_username(),
            "slugs": ", ".join(project.slug for project in strangers),
        }
        raise LifecycleError("unknown_project", message, "projects")
    return projects
