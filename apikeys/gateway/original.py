"""Which request the proxy asks about: its own words, and nothing that a client can add to them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse

from .. import refusals
from ..conf import app_settings
from ..drf import refuse
from ..legacy import schemes
from ..networks import client_ip

#: The headers of each proxy: the method's and the target's. Envoy asks with the request itself.
PROXIES: Final[Mapping[str, tuple[str, str] | None]] = {
    "nginx": ("X-Original-Method", "X-Original-URI"),
    "traefik": ("X-Forwarded-Method", "X-Forwarded-Uri"),
    "caddy": ("X-Forwarded-Method", "X-Forwarded-Uri"),
    "envoy": None,
}


@dataclass(frozen=True, slots=True)
class Original:
    method: str
    target: str
    authorization: str
    remote_addr: str | None
    #: The other header fields that a key may come in, as the client sent them.
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)


class OriginalRequest(HttpRequest):
    """What a verification may ask of the request: whence it comes, and for which URL."""

    def __init__(self, original: Original) -> None:
        super().__init__()
        self.method = original.method
        self._target = original.target
        self.META["HTTP_AUTHORIZATION"] = original.authorization
        for name, value in original.keys.items():
            self.META[f"HTTP_{name.upper().replace('-', '_')}"] = value
        if original.remote_addr:
            self.META["REMOTE_ADDR"] = original.remote_addr

    def build_absolute_uri(self, location: str | None = None) -> str | None:  # type: ignore[override]
        """For the audience of a token (RFC 8707); ``None`` fails closed."""
        url = app_settings.GATEWAY_URL
        return url.rstrip("/") + (self._target if location is None else location) if url else None


def read(request: HttpRequest) -> Original:
    """Raises the refusal if the proxy does not say it once, and once only."""
    headers = PROXIES.get(app_settings.GATEWAY_PROXY)
    if headers is None:
        method, target = request.method or "", _own_target(request)
    else:
        method, target = (_only(request, name) for name in headers)
    return Original(
        method=method,
        target=target,
        authorization=_only(request, "Authorization", required=False),
        remote_addr=client_ip(request),
        keys={name: _only(request, name, required=False) for name in schemes.headers()},
    )


def _only(request: HttpRequest, name: str, *, required: bool = True) -> str:
    given = list(_values(request, name))
    if len(given) > 1 or (required and not (given and given[0])):
        raise refuse(refusals.ORIGINAL_REQUEST_UNKNOWN)
    return given[0] if given else ""


def _values(request: HttpRequest, name: str) -> Iterator[str]:
    scope: dict[str, Any] | None = getattr(request, "scope", None)
    if scope is None:  # WSGI joins them; a comma is refused where it matters
        value = request.META.get("HTTP_" + name.upper().replace("-", "_"))
        if value is not None:
            yield value
        return
    wanted = name.lower().encode()
    for key, raw in scope["headers"]:
        if key.lower() == wanted:
            yield raw.decode("latin-1")


def _own_target(request: HttpRequest) -> str:
    """What follows the path of the endpoint, as it came: Envoy's ``path_prefix``."""
    scope: dict[str, Any] | None = getattr(request, "scope", None)
    if scope is not None:
        raw = scope.get("raw_path") or b""
        query = scope.get("query_string") or b""
        whole = (raw + (b"?" + query if query else b"")).decode("latin-1")
    else:  # gunicorn's name, and that of uWSGI and mod_wsgi
        whole = request.META.get("RAW_URI") or request.META.get("REQUEST_URI") or ""
    prefix = reverse("apikeys-gateway-authorize").rstrip("/")
    target = whole.removeprefix(prefix)
    if target == whole or (target == "/" and whole.endswith("/")):
        raise refuse(refusals.ORIGINAL_REQUEST_UNKNOWN)
    return target
