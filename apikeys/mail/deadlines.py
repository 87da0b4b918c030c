"""Mail the owners of keys that end soon, and record ended keys: ``manage.py apikeys notify``.

Each mail is sent once, however often it runs and on however many servers.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from django.db.models import Exists, F, OuterRef, Q

from .. import audit, moments
from ..audit import Event
from ..databases import clock, transactions
from ..legacy import schemes
from ..legacy.schemes import Scheme
from ..models import KEY_MODELS, AuditEvent, live
from . import LISTED, idle, send_once, url_of

logger = logging.getLogger("apikeys")

#: Days before a key expires on which its owner gets a mail.
DAYS: Final = (1, 7)
#: Days before the header of imported keys stops working on which their owners get a mail.
LEGACY_DAYS: Final = 14

_CHUNK: Final = 500  # rows in memory at a time


def notify(now: datetime | None = None) -> dict[str, int]:
    """Mail the owners of keys that expire soon, and record expired keys in the audit log.

    Also mail the owners of imported keys whose header stops working soon, and of unused keys,
    which are then paused or revoked. Run it daily or more often, also on several servers at once:
    each mail is sent once. A mail that cannot be sent is tried again the next time. Return the
    number of keys by outcome.
    """
    now = now or clock.now(AuditEvent)
    done = {"expired": 0, "notified": 0, "idle": 0, "failed": 0}
    for model in KEY_MODELS.values():
        done["expired"] += _record_expired(model, now)
        for key in _pages(_ending(model, now), "pk"):
            try:
                done["notified"] += _notify(key, now)
            except Exception:
                logger.exception("Could not send the mail that %s expires.", key.public_id)
                done["failed"] += 1
        done |= Counter(done) + _act_on_idle(model, now)
        for scheme, keys in _ending_with_their_header(model, now):
            try:
                done["notified"] += _notify_of_header(scheme, keys, now)
            except Exception:
                ids = ", ".join(key.public_id for key in keys[:LISTED])
                logger.exception("Could not send the mail that %s end: %s.", scheme.name, ids)
                done["failed"] += 1
    return done


def _act_on_idle(model: Any, now: datetime) -> Counter[str]:
    done: Counter[str] = Counter()
    keys = idle.candidates(_owned(model), now) if idle.is_on() else model.objects.none()
    for key, limit in idle.limited(_pages(keys, "pk")):
        try:
            if what := idle.act(key, limit, now):
                done[what] += 1
        except Exception:
            logger.exception("Could not act on %s, which is unused.", key.public_id)
            done["failed"] += 1
    return done


def _owned(model: Any) -> Any:
    owner = model.OWNER
    return model._default_manager.select_related(owner).order_by("pk")


def _pages(rows: Any, *order: str) -> Iterator[Any]:
    """Yield rows in this order. The last field has to be unique.

    It does not use ``iterator()``: while a query is open, SQLite lets the connection write only if
    no other connection writes.
    """
    page = list(rows.order_by(*order)[:_CHUNK])
    while page:
        yield from page
        last = {name: getattr(page[-1], name) for name in order}
        later = Q()
        for number, name in enumerate(order):
            same = {each: last[each] for each in order[:number]}
            later |= Q(**same, **{f"{name}__gt": last[name]})
        page = list(rows.filter(later).order_by(*order)[:_CHUNK])


def _record_expired(model: Any, now: datetime) -> int:
    recorded = AuditEvent.objects.filter(public_id=OuterRef("public_id"), event=Event.EXPIRED)
    expired = _owned(model).filter(~Exists(recorded), revoked_at=None, expires_at__lte=now)
    if (until := AuditEvent.objects.pruned_until()) is not None:
        expired = expired.filter(expires_at__gte=until)  # the others had their event
    number = 0
    while keys := list(expired[:_CHUNK]):
        events = [(key, _expired(key)) for key in keys]
        with transactions.atomic(model):
            number += len(audit.write_once(events))
    return number


def _expired(key: Any) -> AuditEvent:
    once = f"expired:{key.KIND}:{key.pk}"
    return audit.compose(Event.EXPIRED, key, at=key.expires_at, once=once)


def _ending(model: Any, now: datetime) -> Any:
    soon = now + timedelta(days=max(DAYS))
    keys = _owned(model).filter(live(now), expires_at__lte=soon, rotated_at=None, is_pending=False)
    # No notice for a key that was created for a day.
    return keys.filter(expires_at__gt=F("created_at") + timedelta(days=min(DAYS)))


def _notify(key: Any, now: datetime) -> bool:
    days = next(n for n in DAYS if key.expires_at <= now + timedelta(days=n))
    if key.expires_at - key.created_at <= timedelta(days=days):
        return False
    once = f"notice:{key.KIND}:{key.pk}:{days}:{int(key.expires_at.timestamp())}"
    changes = {"days": days, "expires_at": moments.iso(key.expires_at)}
    event = audit.compose(Event.NOTIFIED, key, at=now, changes=changes, once=once)
    url = url_of("rotate" if key.paused_at is None else "key", key)
    return bool(send_once([event], "expiring", key, days=days, url=url))


def _ending_with_their_header(model: Any, now: datetime) -> Iterator[tuple[Scheme, list[Any]]]:
    """Yield the imported keys of each owner who uses at least one, if their header ends soon."""
    owner = f"{model.OWNER}_id"
    for scheme in schemes.enabled().values():
        if not scheme.ends - timedelta(days=LEGACY_DAYS + 1) <= now < scheme.ends:
            continue
        lasting = Q(expires_at=None) | Q(expires_at__gt=scheme.ends)
        keys = _owned(model).filter(live(now), lasting, legacy__scheme=scheme.name, rotated_at=None)
        rows = _pages(keys, owner, "pk")
        for _owner, of_owner in groupby(rows, attrgetter(owner)):
            listed = list(of_owner)
            if any(key.last_used_at for key in listed):
                yield scheme, listed


def _notify_of_header(scheme: Scheme, keys: list[Any], now: datetime) -> int:
    first, until = keys[0], scheme.until.isoformat()
    compose = partial(
        audit.compose, Event.NOTIFIED, at=now, changes={"scheme": scheme.name, "until": until}
    )
    events = [compose(key) for key in keys]
    events[0].once = f"notice:legacy:{scheme.name}:{until}:{first.KIND}:{first.owner.pk}"
    used_first = sorted(keys, key=lambda key: key.last_used_at is None)
    more = len(keys[LISTED:])
    context: dict[str, Any] = {"keys": used_first[:LISTED], "more": more, "scheme": scheme}
    return len(keys) if send_once(events, "legacy_ending", first, **context) else 0
