"""Lock a key and the credential that changes it, so that concurrent changes never mix."""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any, Final

from django.core.exceptions import ObjectDoesNotExist
from django.db import connections, router
from django.db.models import F, Model, prefetch_related_objects
from django.utils import timezone
from django.utils.translation import gettext as _

from .. import restrictions, token
from ..access import Access
from ..errors import LifecycleError
from ..grants import Grant
from ..keys.facts import KINDS
from ..models import KEY_MODELS, AnyKey, PersonalAccessToken, ProjectKey, State
from ..restrictions.base import Circumstances

#: The states of keys that never work again.
ENDED: Final = (State.REVOKED, State.EXPIRED)

_renewals: dict[str, Callable[[Access], Access | None]] = {}


def register(kind: str, renew: Callable[[Access], Access | None]) -> None:
    """Register ``renew``, which reads an ``Access`` of this kind again.

    ``renew`` returns the current ``Access``, or ``None`` if the credential has ended. It locks
    the rows that it reads until the transaction ends.
    """
    _renewals[kind] = renew


def lock_all(key: AnyKey | None, within: Grant | None) -> AnyKey | None:
    """Lock ``key`` and the key that changes it, always in the same order.

    A credential that is narrowed or revoked at the same time then grants nothing any more.
    Return the key that changes ``key``.
    """
    using = credential_of(within)
    holder = None if using is None else _holder(key, using)
    rows = {row for row in (key, holder) if row is not None}
    for row in sorted(rows, key=lambda row: (token.KINDS.index(row.KIND), row.pk)):
        if row is key:
            lock(row)
        elif not _locks(row):
            holder = None
    if using is not None and not _is_as_it_was(using, holder):
        message = _("Your credential has just changed. Try again.")
        raise LifecycleError("credential_changed", message)
    return holder


def lock(key: AnyKey) -> None:
    """Refresh ``key`` and lock its row until the transaction ends."""
    rows = _rows(key)
    if not connections[rows.db].features.has_select_for_update:
        hold(key)
    try:
        key.refresh_from_db(from_queryset=rows.select_for_update())
    except ObjectDoesNotExist:
        raise LifecycleError("unknown_key", _("This key no longer exists.")) from None


def lock_many(model: Any, pks: Iterable[Any]) -> list[Any]:
    """Read the keys with these primary keys, with their owners, and lock their rows.

    Deleted keys are left out.
    """
    if not (wanted := list(pks)):
        return []
    rows = model._default_manager.using(router.db_for_write(model)).filter(pk__in=wanted)
    if not connections[rows.db].features.has_select_for_update:
        rows.update(revoked_reason=F("revoked_reason"))  # a write takes SQLite's lock
    keys = list(rows.order_by("pk").select_for_update())
    prefetch_related_objects(keys, model.OWNER)
    return keys


def _locks(key: AnyKey) -> bool:
    """Lock like ``lock``, but return ``False`` if the key was deleted."""
    try:
        lock(key)
    except LifecycleError:
        return False
    return True


def hold(row: Model) -> None:
    """Lock ``row`` until the transaction ends."""
    rows = _rows(row).filter(pk=row.pk)
    if connections[rows.db].features.has_select_for_update:
        list(rows.select_for_update().values_list("pk"))
    else:
        rows.update(**{row._meta.pk.attname: row.pk})  # a write takes SQLite's lock


def _rows(row: Model) -> Any:
    model: Any = row._meta.model  # not type(row): request.user is a lazy wrapper
    return model._default_manager.using(router.db_for_write(model))


def _holder(key: AnyKey | None, using: Access) -> AnyKey | None:
    """Return the key behind ``using``. Return ``key`` itself if it is the same key."""
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
        renew = _renewals.get(using.kind)  # None for a custom kind of credential
        now = using if renew is None else renew(using)
        return now is not None and _bounds(now) == _bounds(using)
    if holder is None or holder.state() is not State.LIVE:
        return False
    if not restrictions.passes(restrictions.of(holder), Circumstances(timezone.now())):
        return False
    # The access may end before its key: with a workload's token, or with an old header.
    ends = using.expires_at if _is_earlier(using.expires_at, holder.expires_at) else None
    is_selective = not getattr(holder, "all_projects", True)
    return (*_common_bounds(holder, ends), is_selective) == _bounds(using)


def _is_earlier(ends: datetime | None, than: datetime | None) -> bool:
    return ends is not None and (than is None or ends < than)


def _bounds(access: Access) -> tuple[Any, ...]:
    """Return the values to compare. Selected projects are read again where they matter."""
    return *_common_bounds(access), access.selected is not None


def _common_bounds(each: Access | AnyKey, ends: datetime | None = None) -> tuple[Any, ...]:
    return each.scope, ends or each.expires_at, *restrictions.bounds(each)


def credential_of(within: Grant | None) -> Access | None:
    """Return the credential whose limits ``within`` holds, if any."""
    return within.using if within else None


def lock_unended(keys: Collection[AnyKey]) -> list[Any]:
    """Lock the ``keys`` and read them again. Return the keys that have not ended."""
    return [
        key
        for model in KEY_MODELS.values()
        for key in lock_many(model, [k.pk for k in keys if isinstance(k, model)])
        if key.state() not in ENDED
    ]


def check_unended(key: AnyKey) -> None:
    """Raise ``LifecycleError`` if ``key`` is revoked or has expired."""
    state = key.state()
    if state is State.REVOKED:
        raise LifecycleError("revoked_key", _("This key was revoked. Create a new one."))
    if state is State.EXPIRED:
        raise LifecycleError("expired_key", _("This key has expired. Create a new one."))


def check_live(key: AnyKey) -> None:
    """Raise ``LifecycleError`` unless ``key`` has not ended and was not rotated."""
    if key.rotated_at is not None and key.state() is not State.REVOKED:
        successor = key.successor
        message = _("This key was already rotated. Use its successor %(id)s.") % {
            "id": successor.public_id if successor else "?"
        }
        raise LifecycleError("already_rotated", message)
    check_unended(key)
