"""The addresses from which a key was refused, for its page."""

from datetime import timedelta
from typing import Any, Final

from django.utils import timezone

from ... import moments
from ...audit import Event
from ...limits import networks
from ...models import AnyKey, AuditEvent
from .rows import UNENDED

_RECENT: Final = timedelta(days=7)
_MOST_READ: Final = 20
_MOST_NAMED: Final = 3


def refused_addresses(key: AnyKey) -> list[dict[str, Any]]:
    """Return the latest addresses outside the allowed IP ranges of ``key`` that were refused.

    Takes one query for a key with ranges. Addresses that were allowed meanwhile are left out.
    """
    ranges = key.allowed_networks
    if not ranges or key.state() not in UNENDED:
        return []
    events = AuditEvent.objects.filter(
        kind=key._meta.model_name,
        public_id=key.public_id,
        event=Event.REFUSED_NETWORK,
        at__gte=timezone.now() - _RECENT,
    )
    found: dict[str | None, Any] = {}
    for ip, at in events.order_by("-pk").values_list("ip", "at")[:_MOST_READ]:
        if not networks.allowed_from((ranges,), ip):
            found.setdefault(ip, at)
    today = moments.local(timezone.now()).date()
    return [
        {"ip": ip, "at": at, "is_today": moments.local(at).date() == today}
        for ip, at in list(found.items())[:_MOST_NAMED]
    ]
