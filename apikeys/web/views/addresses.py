"""The addresses from which a key was refused, and whether it refuses that of the reader."""

from datetime import timedelta
from typing import Any, Final

from django.utils import timezone
from django.utils.translation import gettext as _

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


def excludes_last_use(key: AnyKey, allowed: str) -> bool:
    """Return whether the ranges ``allowed`` exclude the address from which ``key`` was last used.

    ``False`` if that address is unknown.
    """
    ip = key.last_used_ip
    return ip is not None and not networks.allowed_from([allowed], ip)


def own_address_note(allowed: str, *, of_tokens: bool) -> str:
    """Return a sentence if the ranges ``allowed`` exclude the address of the current request.

    Empty if they do not, or if the address is not certain.
    """
    ip = networks.current_ip()
    if ip is None or networks.allowed_from([allowed], ip):
        return ""
    if of_tokens:
        text = _(
            "Your own address, %(ip)s, is not in the allowed IP ranges. You cannot use the token "
            "from this device."
        )
    else:
        text = _(
            "Your own address, %(ip)s, is not in the allowed IP ranges. You cannot use the key "
            "from this device."
        )
    return text % {"ip": ip}
