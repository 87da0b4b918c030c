"""Serve the description of the API behind the gateway (RFC 9728), if OAuth is installed."""

import json
from io import BytesIO
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from ..http import discovery
from .conf import gateway_settings


async def send(scope: Any, send: Any) -> bool:
    """Answer a request for the description. Return ``False`` for any other request."""
    resource = gateway_settings.GATEWAY_URL
    if scope.get("path") != discovery.PATH or scope["method"] not in ("GET", "HEAD"):
        return False
    if not resource:
        return False
    if (facts := discovery.document(asked(scope), resource.rstrip("/"))) is None:
        return False
    body = json.dumps(facts).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"access-control-allow-origin", b"*"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
    return True


def asked(scope: Any) -> HttpRequest:
    """Return a Django request with the host and the scheme of the request."""
    return ASGIRequest({**scope, "path": "/", "query_string": b""}, BytesIO())
