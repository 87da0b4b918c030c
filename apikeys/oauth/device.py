"""The device grant where django-oauth-toolkit leaves it open (RFC 8628)."""

import hashlib
from typing import Any, Final

from django.core.cache import cache
from django.db.models import F
from oauth2_provider.models import get_device_grant_model
from oauthlib.oauth2.rfc8628.grant_types import DeviceCodeGrant as Base

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"

#: Seconds that a client has to wait longer after a ``slow_down`` (section 3.5).
_SLOWER: Final = 5


class DeviceCodeGrant(Base):  # type: ignore[misc,unused-ignore]
    """As oauthlib's, but that an approval is good for one token (section 3.5)."""

    def create_token_response(
        self, request: Any, token_handler: Any
    ) -> tuple[dict[str, str], str, int]:
        headers, body, status = super().create_token_response(request, token_handler)
        return self._get_default_headers() | headers, body, status


def poll(client_id: str, code: str, request: Any) -> str | None:
    """The status of a device code for the client that asks; ``None`` if it is not its own.

    An approved code is consumed by this.
    """
    model = get_device_grant_model()
    device = model._default_manager.filter(device_code=code).select_related("user").first()
    if device is None or device.client_id != client_id:
        return None
    rows = model._default_manager.filter(pk=device.pk)
    if device.is_expired():
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
    if device.user is None or not device.user.is_active:
        return str(Base.DEVICE_CODE_DENIED)
    if not rows.filter(status=model.AUTHORIZED).update(status=model.EXPIRED):
        return None  # another request was faster
    request.user = device.user
    request.scopes = device.scope.split()
    request.device_grant = device
    return str(Base.DEVICE_CODE_AUTHORIZED)
