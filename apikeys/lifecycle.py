"""Mint, rotate, revoke: the only writers of keys."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar, overload

from django.core.exceptions import ObjectDoesNotExist
from django.db import router, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from . import hashing, scopes, token
from .conf import app_settings
from .models import PersonalAccessToken, ProjectKey, State

MAX_OVERLAP: Final = timedelta(days=7)

K = TypeVar("K", PersonalAccessToken, ProjectKey)


class LifecycleError(ValueError):
    """What was asked for cannot be done: a ``code`` for programs, a sentence for people.

    ``field`` names the argument at fault, if it is one.
    """

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
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
    """The default of an argument that says: as it was."""


KEEP: Final = _Keep()


@overload
def mint(
    *,
    user: Any,
    name: str,
    scopes: Iterable[str],
    projects: Iterable[Any] | None = None,
    expires_at: datetime | None = None,
) -> Minted[PersonalAccessToken]: ...


@overload
def mint(
    *,
    project: Any,
    name: str,
    scopes: Iterable[str],
    expires_at: datetime | None = None,
    by: Any = None,
) -> Minted[ProjectKey]: ...


def mint(
    *,
    user: Any = None,
    project: Any = None,
    name: str,
    scopes: Iterable[str],
    projects: Iterable[Any] | None = None,
    expires_at: datetime | None = None,
    by: Any = None,
) -> Minted[PersonalAccessToken] | Minted[ProjectKey]:
    """Make a personal access token (of ``user``) or a project key (of ``project``).

    ``projects`` restricts a personal access token to some of its user's projects; ``None``
    means all that the user is in, now and later. ``expires_at`` is ``None`` for a key
    without expiry. ``by`` is the user who makes a project key.

    Raises ``LifecycleError`` with one of the codes ``name_required``, ``name_too_long``,
    ``invalid_name``, ``scope_required``, ``unknown_scope``, ``expiry_in_the_past``,
    ``inactive_user``, ``inactive_project``, ``project_required`` and ``unknown_project``.
    """
    if (user is None) == (project is None):
        raise TypeError("mint() takes a user or a project, not both.")
    common = {
        "name": _clean_name(name),
        "scope": _clean_scopes(scopes),
        "expires_at": _clean_expiry(expires_at),
    }
    if user is None:
        if projects is not None:
            raise TypeError("mint() takes projects only for a user.")
        if not getattr(project, "is_active", True):
            raise LifecycleError("inactive_project", _("This project is deactivated."), "project")
        return _create(ProjectKey(project=project, created_by=by, **common))
    if not user.is_active:
        raise LifecycleError("inactive_user", _("This user is deactivated."), "user")
    selected = None if projects is None else _clean_projects(user, projects)
    return _create(
        PersonalAccessToken(user=user, all_projects=selected is None, **common), selected or ()
    )


@sensitive_variables("text")
def rotate(
    key: K,
    *,
    overlap: timedelta | None = None,
    expires_at: datetime | _Keep | None = KEEP,
    by: Any = None,
) -> Minted[K]:
    """Make the successor of ``key``: the same but for its id and secret.

    The old key stays valid for ``overlap`` (0 to 7 days; by default the setting
    ``ROTATION_OVERLAP``), and never longer than it would have been. The new one expires
    when the old one would have, unless ``expires_at`` says otherwise.

    Of several rotations at the same moment one succeeds. Raises ``LifecycleError`` with
    one of the codes ``overlap_out_of_range``, ``expiry_in_the_past``, ``already_rotated``,
    ``revoked_key``, ``expired_key`` and ``unknown_key``.
    """
    overlap = app_settings.ROTATION_OVERLAP if overlap is None else overlap
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise LifecycleError(
            "overlap_out_of_range", _("The overlap must be from 0 to 7 days."), "overlap"
        )
    if not isinstance(expires_at, _Keep):
        expires_at = _clean_expiry(expires_at)
    model = type(key)
    alias = router.db_for_write(model)
    successor = model()
    text = _seal(successor)  # slow by design, so before anything is locked
    with transaction.atomic(using=alias):
        rows = model._default_manager.using(alias).filter(pk=key.pk)
        now = timezone.now()
        alive = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))
        # The conditional write comes first: it locks the row, and only one can win it.
        if not rows.filter(alive, rotated_at=None).update(rotated_at=now):
            raise _why_not_rotated(key)
        old = rows.get()  # as it is, whatever the caller's instance says
        old_ends = now + overlap if old.expires_at is None else min(now + overlap, old.expires_at)
        rows.update(expires_at=old_ends)
        successor.replaces, successor.name, successor.scope = old, old.name, old.scope
        successor.expires_at = old.expires_at if isinstance(expires_at, _Keep) else expires_at
        selected: Iterable[Any] = ()
        if isinstance(old, PersonalAccessToken):
            successor.user, successor.all_projects = old.user, old.all_projects
            selected = old.projects.all()
        else:
            successor.project, successor.created_by = old.project, by or old.created_by
        _save(successor, selected)
    key.refresh_from_db()
    return Minted(successor, text)


def revoke(key: PersonalAccessToken | ProjectKey, *, by: Any = None, reason: str = "") -> bool:
    """End ``key`` now, for good. ``False`` if it was revoked before: the first one counts.

    Raises ``LifecycleError`` (``reason_too_long``, ``invalid_reason``, ``unknown_key``).
    """
    limit = _max_length(key, "revoked_reason")
    if len(reason) > limit:
        message = _("A reason has at most %(limit)d characters.") % {"limit": limit}
        raise LifecycleError("reason_too_long", message, "reason")
    if not _is_text(reason):
        message = _("The reason has a character that cannot be shown.")
        raise LifecycleError("invalid_reason", message, "reason")
    changes = {"revoked_at": timezone.now(), "revoked_by": by, "revoked_reason": reason}
    model = type(key)
    if not model._default_manager.filter(pk=key.pk, revoked_at=None).update(**changes):
        _refresh(key)
        return False
    for name, value in changes.items():
        setattr(key, name, value)
    return True


@sensitive_variables("text")
def _create(key: K, selected: Iterable[Any] = ()) -> Minted[K]:
    text = _seal(key)
    with transaction.atomic(using=router.db_for_write(type(key))):
        _save(key, selected)
    return Minted(key, text)


@sensitive_variables("secret")
def _seal(key: PersonalAccessToken | ProjectKey) -> str:
    """Give ``key`` a secret; returns the whole text. Tens of milliseconds."""
    secret = token.generate_secret()
    key.root = hashing.make_root(secret)
    key.digest, key.pepper_id = hashing.make_digest(secret)
    return token.compose(app_settings.PREFIX, key.KIND, key.public_id, secret)


def _save(key: PersonalAccessToken | ProjectKey, selected: Iterable[Any]) -> None:
    key.save(force_insert=True)
    if isinstance(key, PersonalAccessToken) and not key.all_projects:
        key.projects.set(selected)


def _why_not_rotated(key: PersonalAccessToken | ProjectKey) -> LifecycleError:
    _refresh(key)
    if key.rotated_at is not None:
        successor = key.successor
        message = _("This key was rotated already. Rotate its successor %(id)s instead.") % {
            "id": successor.public_id if successor else "?"
        }
        return LifecycleError("already_rotated", message)
    if key.state() is State.REVOKED:
        return LifecycleError("revoked_key", _("This key was revoked. Mint a new one."))
    return LifecycleError("expired_key", _("This key has expired. Mint a new one."))


def _refresh(key: PersonalAccessToken | ProjectKey) -> None:
    try:
        key.refresh_from_db()
    except ObjectDoesNotExist:
        raise LifecycleError("unknown_key", _("There is no such key any more.")) from None


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
    if not name:
        raise LifecycleError("name_required", _("Give the key a name."), "name")
    if len(name) > limit:
        message = _("A name has at most %(limit)d characters.") % {"limit": limit}
        raise LifecycleError("name_too_long", message, "name")
    if not _is_text(name):
        message = _("The name has a character that cannot be shown.")
        raise LifecycleError("invalid_name", message, "name")
    return name


def _clean_scopes(names: Iterable[str]) -> str:
    names = list(names)
    if not names:
        raise LifecycleError("scope_required", _("Give the key at least one scope."), "scopes")
    if unknown := scopes.unknown(names):
        message = _("No such scope: %(unknown)s. There are: %(known)s.") % {
            "unknown": ", ".join(unknown),
            "known": ", ".join(scopes.declared()),
        }
        raise LifecycleError("unknown_scope", message, "scopes")
    return scopes.join(names)


def _clean_expiry(expires_at: datetime | None) -> datetime | None:
    if expires_at is not None and expires_at <= timezone.now():
        message = _("The expiry must be in the future.")
        raise LifecycleError("expiry_in_the_past", message, "expires_at")
    return expires_at


def _clean_projects(user: Any, projects: Iterable[Any]) -> list[Any]:
    projects = list(projects)
    if not projects:
        message = _("Select at least one project, or allow all of them.")
        raise LifecycleError("project_required", message, "projects")
    own = set(app_settings.POLICY.projects(user).filter(pk__in=[p.pk for p in projects]))
    if strangers := [project for project in projects if project not in own]:
        message = _("%(user)s is not in the project %(slugs)s.") % {
            "user": user.get_username(),
            "slugs": ", ".join(project.slug for project in strangers),
        }
        raise LifecycleError("unknown_project", message, "projects")
    return projects
