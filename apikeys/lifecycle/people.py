"""Pause or revoke what a user holds when something happens to the user (``WHEN_USER``).

Django's signals say when a password is changed, a user is deactivated or logs out, and when a
membership is deleted. They are silent about ``update()`` and about your own memberships: call
``apply_user_event`` there.
"""

from collections.abc import Callable
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import get_hasher, identify_hasher, is_password_usable
from django.contrib.auth.signals import user_logged_out
from django.db.models import Model, QuerySet
from django.db.models.signals import post_delete, post_save, pre_save
from django.utils.translation import gettext as _

from ..conf import slug_of
from ..conf.endings import EVENTS, end_settings
from ..databases.primary import reading_primary
from ..errors import LifecycleError
from ..models import Membership, PersonalAccessToken, live
from ..policy import has_field
from . import ending
from .pausing import pause_all

#: Takes away what the user gave to applications; with a project, only what reaches it.
Withdraw = Callable[[Any, Any], None]
_withdrawals: Final[list[Withdraw]] = []

#: The attribute of a user between the two signals of ``save()``.
_NOTED: Final = "_apikeys_events"


def register(withdraw: Withdraw) -> None:
    """Call ``withdraw`` with the user, and the project or ``None``, if a setting asks for it."""
    if withdraw not in _withdrawals:
        _withdrawals.append(withdraw)


def membership_lost(user: Any, project: Any) -> int:
    """Apply the event ``membership_lost`` of ``WHEN_USER``. See ``apply_user_event``."""
    return apply_user_event("membership_lost", user, project=project)


@reading_primary()
def apply_user_event(event: str, user: Any, *, project: Any = None, by: Any = None) -> int:
    """Pause or revoke what ``user`` holds, as ``WHEN_USER`` says for ``event``.

    ``event`` is ``password_changed``, ``deactivated``, ``membership_lost`` or ``logged_out``.
    Pass ``project`` for a lost membership: only tokens and authorized applications for which the
    project was selected are then concerned. Authorized applications cannot be paused, so they
    are revoked.

    Return the number of tokens that were paused or revoked. Raises ``ValueError`` for another
    event, for ``membership_lost`` without a project, and for a project with another event.
    """
    if event not in EVENTS or (project is None) == (event == "membership_lost"):
        raise ValueError(f"{event!r} is not an event of a user, or has another project.")
    action = end_settings.WHEN_USER.get(event, "nothing")
    if action == "nothing":
        return 0
    number = _apply(action, user, project, _reason(event, project), by)
    for withdraw in _withdrawals:
        withdraw(user, project)
    return number


def _apply(action: str, user: Any, project: Any, reason: str, by: Any) -> int:
    tokens = PersonalAccessToken.objects.filter(live(), user=user)
    if project is not None:
        # Tokens for all projects lose this one by themselves. An owner who adds and removes a
        # stranger must not end the stranger's tokens.
        selected = PersonalAccessToken.objects.filter(projects=project).values("pk")
        tokens = tokens.filter(all_projects=False, pk__in=selected)
    if action == "revoke":
        return len(ending.revoke_all(dict.fromkeys(tokens, reason), by=by))
    return len(pause_all(tokens, reason=reason, by=by))


def _reason(event: str, project: Any) -> str:
    if project is None:
        return {
            "password_changed": _("The password of the user was changed."),
            "deactivated": _("The user was deactivated."),
            "logged_out": _("The user logged out."),
        }[event]
    reason = _("The user is no longer a member of %(project)s.") % {"project": slug_of(project)}
    try:
        ending.check_reason(PersonalAccessToken(), reason)
    except LifecycleError:
        return _("The user is no longer a member of a project.")
    return reason


def _is_on(event: str) -> bool:
    return end_settings.WHEN_USER.get(event, "nothing") != "nothing"


def _saving(
    sender: Any, instance: Any, raw: bool, using: str, update_fields: Any, **kwargs: Any
) -> None:
    """Compare the user with the database, remember what changed, and end the tokens."""
    if not end_settings.WHEN_USER or not issubclass(sender, get_user_model()):
        return
    instance.__dict__.pop(_NOTED, None)
    if raw or instance._state.adding or instance.pk is None:
        return
    names = [
        name
        for event, name in (("password_changed", "password"), ("deactivated", "is_active"))
        if _is_on(event)
        and has_field(sender, name)
        and (update_fields is None or name in update_fields)
        and name not in instance.get_deferred_fields()
    ]
    users: Any = QuerySet(sender, using=using)
    old = users.filter(pk=instance.pk).values(*names).first() if names else None
    if old is None:
        return
    noted = instance.__dict__[_NOTED] = []
    if old.get("is_active") and not instance.is_active:
        noted.append("deactivated")
    is_changed = "password" in old and old["password"] != instance.password
    if is_changed and not _is_upgrade(instance, old["password"], update_fields):
        noted.append("password_changed")
    # Before the user is saved, so that nothing is saved if this fails.
    for event in noted:
        apply_user_event(event, instance)


def _is_upgrade(user: Any, old: str, update_fields: Any) -> bool:
    """Return whether Django hashes the same password again, with a newer algorithm, at a login."""
    if update_fields is None or set(update_fields) != {"password"}:
        return False
    if getattr(user, "_password", None) is not None or not is_password_usable(user.password):
        return False
    try:
        hasher, preferred = identify_hasher(old), get_hasher()
    except ValueError:
        return False
    return hasher.algorithm != preferred.algorithm or preferred.must_update(old)


def _saved(sender: Any, instance: Any, **kwargs: Any) -> None:
    """Pause or revoke tokens that were created while the user was saved."""
    for event in instance.__dict__.pop(_NOTED, ()):
        apply_user_event(event, instance)


def _left(sender: Any, instance: Any, origin: Any = None, **kwargs: Any) -> None:
    if not _is_on("membership_lost"):
        return
    # A deleted project or user expels no one.
    model = origin.model if isinstance(origin, QuerySet) else type(origin)
    if origin is None or not issubclass(model, Model) or issubclass(model, Membership):
        membership_lost(instance.user, instance.project)


def _logged_out(sender: Any, user: Any, **kwargs: Any) -> None:
    if user is not None and _is_on("logged_out") and isinstance(user, get_user_model()):
        apply_user_event("logged_out", user)


def connect() -> None:
    """Connect the signals of Django. ``AppConfig.ready`` calls this once."""
    uid = "apikeys.lifecycle.people"
    pre_save.connect(_saving, dispatch_uid=uid)
    post_save.connect(_saved, dispatch_uid=uid)
    post_delete.connect(_left, sender=Membership, dispatch_uid=uid)
    user_logged_out.connect(_logged_out, dispatch_uid=uid)
