"""Warn the owners of unused keys, and then pause or revoke the keys: ``Policy.longest_idle``.

A key counts as unused since its last use, or since it was created, approved, resumed or started
to work. A use through an exchanged token counts. At least 14 days pass between the first warning
and the end, also if the policy has changed meanwhile.
"""

import logging
import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q
from django.utils.translation import gettext as _

from .. import audit, lifecycle, moments
from ..audit import Event
from ..conf import app_settings
from ..conf.endings import end_settings
from ..databases import transactions
from ..databases.primary import reading_primary
from ..lifecycle import locking
from ..models import AnyKey, AuditEvent, State, live
from ..policy import get_policy, overrides
from . import recipients, send_once, url_of

logger = logging.getLogger("apikeys")

#: Days before the end on which the owner gets a mail.
DAYS: Final = (14, 3)

_FIRST, _LAST = (timedelta(days=days) for days in DAYS)
_SHORTEST: Final = timedelta(days=1)


def is_on() -> bool:
    """Return whether the policy of the site limits the time without use."""
    # Without a writer, the last use in the database may be old.
    has_uses = app_settings.LAST_USED_INTERVAL is not None
    return has_uses and overrides(get_policy(), "longest_idle")


def candidates(keys: Any, now: datetime) -> Any:
    """Return the active ``keys`` that were not used just now."""
    quiet = now - _SHORTEST / 2
    unused = Q(last_used_at=None) | Q(last_used_at__lt=quiet)
    able = {"paused_at": None, "is_pending": False, "rotated_at": None}
    return keys.filter(live(now), unused, created_at__lt=quiet, **able)


def limited(keys: Iterator[Any]) -> Iterator[tuple[Any, timedelta]]:
    """Yield each key whose owner has a limit, with the limit. Asks the policy once per owner."""
    limits: dict[tuple[type, Any], timedelta | None] = {}
    for key in keys:
        owner = type(key), key.owner.pk
        if owner not in limits:
            limits[owner] = get_policy().longest_idle(key.owner)
        if (limit := limits[owner]) is not None:
            yield key, max(limit, _SHORTEST)


def unused_since(key: AnyKey) -> datetime:
    """Return the moment from which the time without use counts."""
    given = (key.last_used_at, key.created_at, key.approved_at, key.not_before, key.resumed_at)
    return max(moment for moment in given if moment is not None)


def act(key: AnyKey, limit: timedelta, now: datetime) -> str:
    """Warn the owner of ``key``, or end it, if it is time.

    Return ``notified``, ``idle``, or nothing if there was nothing to do.
    """
    since = unused_since(key)
    # A limit of a few days leaves some of them before the warning.
    if now < since + limit - min(_FIRST, limit / 2):
        return ""
    onces = [f"idle:{key.KIND}:{key.pk}:{number}:{since.isoformat()}" for number in (1, 2)]
    rows = AuditEvent.objects.filter(once__in=onces)
    warned = dict(rows.values_list("once", "at"))
    if (first := warned.get(onces[0])) is None:
        return "notified" if _warn(key, onces[0], max(since + limit, now + _FIRST), now) else ""
    ends = max(since + limit, first + _FIRST)
    unwritten = timedelta(seconds=2 * (app_settings.LAST_USED_INTERVAL or 0))
    if now >= max(ends, since + limit + unwritten):
        return "idle" if _end(key, since, now) else ""
    if now >= ends - _LAST and onces[1] not in warned:
        return "notified" if _warn(key, onces[1], ends, now) else ""
    return ""


def _warn(key: AnyKey, once: str, ends: datetime, now: datetime) -> bool:
    days, at = math.ceil((ends - now) / timedelta(days=1)), moments.iso(ends)
    is_mailed = "idle" in app_settings.NOTICES and bool(recipients(key))
    changes = {"idle": True, "days": days, "ends_at": at, "mailed": is_mailed}
    event = audit.compose(Event.NOTIFIED, key, at=now, changes=changes, once=once)
    context = {"days": days, "at": ends, "revokes": end_settings.WHEN_IDLE == "revoke"}
    return bool(
        send_once([event], "idle", key, even_unsent=True, **context, url=url_of("key", key))
    )


@transactions.retried
@reading_primary()
def _end(key: AnyKey, since: datetime, now: datetime) -> bool:
    with transactions.atomic(type(key)):
        locking.lock(key)
        if key.state() is not State.LIVE or unused_since(key) != since:
            return False  # it was just used, or ended otherwise
        days = (now - since).days
        reason = _("Not used for %(days)d days.") % {"days": days}
        end = lifecycle.revoke if end_settings.WHEN_IDLE == "revoke" else lifecycle.pause
        return end(key, reason=reason)
