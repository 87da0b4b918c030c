"""Which request the proxy asks about: its own words, and nothing that a client can add to them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse

from .. import refusals
from ..conf import app_settings
from ..drf import refuse
from ..legacy import schemes
from ..networks import client_ip
from ..refusals import Refused
from ..signatures import Message

#: The headers of each proxy: the method's and the target's. Envoy asks with the request itself.
PROXIES: Final[Mapping[str, tuple[str, str] | None]] = {
    "nginx": ("X-Original-Method", "X-Original-URI"),
    "traefik": ("X-Forwarded-Method", "X-Forwarded-Uri"),
    "caddy": ("X-Forwarded-Method", "X-Forwarded-Uri"),
    "envoy": None,
}


#: Whether there is a body, ``none`` or anything else, where the proxy says so.
_BODIES: Final[Mapping[str, str]] = {"nginx": "X-Original-Body"}


@dataclass(frozen=True, slots=True)
class Original:
    method: str
    target: str
    authorization: str
    remote_addr: str | None
    #: A request that is signed, in place of an authorization.
    signed: Message | None = None
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
    authorization = _only(request, "Authorization", required=False)
    signed = None
    if "Signature-Input" in request.headers and not authorization:
        body = partial(_unseen_body, request)
        signed = Message(method, absolute(target), request.headers, body)
    keys = {name: _only(request, name, required=False) for name in schemes.headers()}
    return Original(method, target, authorization, client_ip(request), signed, keys)


def absolute(target: str) -> str:
    """Where the sender of a signed request sent it. Raises the refusal if nobody knows."""
    if (url := app_settings.GATEWAY_URL) is None:
        raise refuse(refusals.SIGNATURE_NOT_ACCEPTED)
    return url.rstrip("/") + target


def _unseen_body(request: HttpRequest) -> bytes | None:
    name = _BODIES.get(app_settings.GATEWAY_PROXY)
    if name is not None and _only(request, name, required=False) == "none":
        return b""
    if app_settings.GATEWAY_SIGNED_BODIES == "upstream":
        return None
    raise Refused(refusals.BODY_NOT_COMPARED)


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
