"""Read the original request from the proxy's headers, which a client must not forge."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse

from .. import refusals
from ..drf import refuse
from ..legacy import schemes
from ..limits.networks import client_ip
from ..refusals import Refused
from ..signatures.messages import Message
from .conf import PROXIES, gateway_settings

#: The header in which a proxy says whether there is a body: ``none`` or anything else.
_BODIES: Final[Mapping[str, str]] = dict.fromkeys(("nginx", "haproxy", "apache"), "X-Original-Body")


@dataclass(frozen=True, slots=True)
class Original:
    """The request that the gateway decides about."""

    method: str
    target: str
    authorization: str
    remote_addr: str | None
    #: The signed message, if the request has a signature and no ``Authorization``.
    signed: Message | None = None
    #: Values of the other headers that may contain a key (``LEGACY``).
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: The origin of the page in the browser that sent the request.
    origin: str = ""


class OriginalRequest(HttpRequest):
    """A Django request with what verification reads: method, address, credential and URL."""

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
        """Return the URL to compare with a token's audience (RFC 8707). ``None`` matches none."""
        url = gateway_settings.GATEWAY_URL
        return url.rstrip("/") + (self._target if location is None else location) if url else None


def read(request: HttpRequest) -> Original:
    """Return the original request. Raise ``RefusedException`` unless each header occurs once."""
    headers = PROXIES.get(gateway_settings.GATEWAY_PROXY)
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
    origin = _only(request, "Origin", required=False)
    return Original(method, target, authorization, client_ip(request), signed, keys, origin)


def absolute(target: str) -> str:
    """Return the URL of a signed request. Raise ``RefusedException`` without ``GATEWAY_URL``."""
    if (url := gateway_settings.GATEWAY_URL) is None:
        raise refuse(refusals.SIGNATURE_NOT_ACCEPTED)
    return url.rstrip("/") + target


def _unseen_body(request: HttpRequest) -> bytes | None:
    name = _BODIES.get(gateway_settings.GATEWAY_PROXY)
    if name is not None and _only(request, name, required=False) == "none":
        return b""
    if gateway_settings.GATEWAY_SIGNED_BODIES == "upstream":
        return None
    raise Refused(refusals.BODY_NOT_COMPARED)


def _only(request: HttpRequest, name: str, *, required: bool = True) -> str:
    given = list(_values(request, name))
    if len(given) > 1 or (required and not (given and given[0])):
        raise refuse(refusals.ORIGINAL_REQUEST_UNKNOWN)
    return given[0] if given else ""


def _values(request: HttpRequest, name: str) -> Iterator[str]:
    scope: dict[str, Any] | None = getattr(request, "scope", None)
    if scope is None:  # WSGI joins repeated headers with a comma, which is refused later
        value = request.META.get("HTTP_" + name.upper().replace("-", "_"))
        if value is not None:
            yield value
        return
    wanted = name.lower().encode()
    for key, raw in scope["headers"]:
        if key.lower() == wanted:
            yield raw.decode("latin-1")


def _own_target(request: HttpRequest) -> str:
    """Return the raw path after the path of the endpoint (Envoy's ``path_prefix``)."""
    scope: dict[str, Any] | None = getattr(request, "scope", None)
    if scope is not None:
        raw = scope.get("raw_path") or b""
        query = scope.get("query_string") or b""
        whole = (raw + (b"?" + query if query else b"")).decode("latin-1")
    else:  # the first is set by gunicorn, the second by uWSGI and mod_wsgi
        whole = request.META.get("RAW_URI") or request.META.get("REQUEST_URI") or ""
    prefix = reverse("apikeys-gateway-authorize").rstrip("/")
    target = whole.removeprefix(prefix)
    if target == whole or (target == "/" and whole.endswith("/")):
        raise refuse(refusals.ORIGINAL_REQUEST_UNKNOWN)
    return target
