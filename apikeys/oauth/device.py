"""Complete django-oauth-toolkit's device grant (RFC 8628): polling, limits and expiry."""

import hashlib
from datetime import timedelta
from typing import Any, Final

from django.core.cache import cache
from django.db.models import F
from django.utils import timezone
from oauth2_provider.models import get_device_grant_model
from oauthlib.oauth2.rfc8628.grant_types import DeviceCodeGrant as Base

from ..models.owners import is_active

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"

#: Seconds added to the polling interval after a ``slow_down`` (section 3.5).
_SLOWER: Final = 5

#: Maximum number of pending codes of one client.
MOST_PENDING: Final = 1000

# Keep an expired code for a while, so that the device gets ``expired_token``.
_KEPT_FOR: Final = timedelta(hours=1)
_PRUNED_AT_ONCE: Final = 100


class DeviceCodeGrant(Base):  # type: ignore[misc,unused-ignore]
    """The device code grant of oauthlib, with the headers of a token response.

    An approved code gives one token: ``poll`` consumes it (section 3.5).
    """

    def create_token_response(
        self, request: Any, token_handler: Any
    ) -> tuple[dict[str, str], str, int]:
        headers, body, status = super().create_token_response(request, token_handler)
        return self._get_default_headers() | headers, body, status


def is_full(client_id: str) -> bool:
    """Return whether the client has ``MOST_PENDING`` pending codes. Delete old codes."""
    model = get_device_grant_model()
    # Look only at codes of this client, which an index finds.
    rows = model._default_manager.filter(client_id=client_id)
    now = timezone.now()
    old = rows.filter(expires__lt=now - _KEPT_FOR).values_list("pk", flat=True)[:_PRUNED_AT_ONCE]
    if pks := list(old):
        model._default_manager.filter(pk__in=pks).delete()
    pending = rows.filter(status=model.AUTHORIZATION_PENDING, expires__gt=now)
    return bool(pending[:MOST_PENDING].count() >= MOST_PENDING)


def prune() -> int:
    """Delete the old codes of all clients. Return how many."""
    rows = get_device_grant_model()._default_manager
    old, deleted = rows.filter(expires__lt=timezone.now() - _KEPT_FOR), 0
    while pks := list(old.values_list("pk", flat=True)[:_PRUNED_AT_ONCE]):
        rows.filter(pk__in=pks).delete()
        deleted += len(pks)
    return deleted


def is_expired(device: Any) -> bool:
    """Return whether a device's code has expired, and save its status.

    django-oauth-toolkit's method fails without ``USE_TZ``.
    """
    if device.status != device.EXPIRED and device.expires <= timezone.now():
        device.status = device.EXPIRED
        device.save(update_fields=["status"])
    return bool(device.status == device.EXPIRED)


def poll(client_id: str, code: str, request: Any) -> str | None:
    """Return the status of a device code; ``None`` if it belongs to another client.

    Consumes an approved code: then ``request`` gets its ``user`` and ``scopes``.
    """
    model = get_device_grant_model()
    device = model._default_manager.filter(device_code=code).select_related("user").first()
    if device is None or device.client_id != client_id:
        return None
    rows = model._default_manager.filter(pk=device.pk)
    if is_expired(device):
        return str(Base.DEVICE_CODE_EXPIRED)
    if device.status == model.DENIED:
        return str(Base.DEVICE_CODE_DENIED)
    if device.status != model.AUTHORIZED:
        if not cache.add(
            f"apikeys:device:{hashlib.sha256(code.encode()).hexdigest()}", True, device.interval
        ):
            rows.update(interval=F("interval") + _SLOWER)
            return str(Base.DEVICE_CODE_SLOW_DOWN)
        return str(Base.DEVICE_CODE_PENDING)
    if device.user is None or not is_active(device.user):
        return str(Base.DEVICE_CODE_DENIED)
    if not rows.filter(status=model.AUTHORIZED).update(status=model.EXPIRED):
        return None  # another request was faster
    request.user = device.user
    request.scopes = device.scope.split()
    request.device_grant = device
    return str(Base.DEVICE_CODE_AUTHORIZED)
