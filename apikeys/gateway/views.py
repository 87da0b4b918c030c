"""The forward-auth endpoint: answers 200 with the caller's identity, or a refusal like DRF's."""

import json
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt
from rest_framework.renderers import JSONRenderer

from ..drf.exceptions import RefusedException
from ..http.hidden import empty_frames
from . import cors
from .decide import (
    Decision,
    adecide,
    arefusal_headers,
    decide,
    identity,
    max_age,
    refusal_headers,
    vary,
)
from .original import Original, read

#: nginx's ``auth_request`` drops the body of a refusal. Its configuration reads this header.
BODY_HEADER = "X-Auth-Refusal"


@csrf_exempt
@login_not_required
def authorize(request: HttpRequest, rest: str = "") -> HttpResponse:
    """Decide about the original request. Accepts any method, because proxies differ."""
    # Keep the response out of Django's cache middleware: all decisions have the same URL.
    request._cache_update_cache = False  # type: ignore[attr-defined]
    original = None
    try:
        original = read(request)
        response = allowed(decide(original), original)
    except RefusedException as refused:
        headers = refusal_headers(refused, request, *_line(original))
        response = refusal(refused, headers)
    except BaseException as error:
        original = None  # its headers contain the credential
        empty_frames(error)
        raise
    return _readable(response, cors.fields(original))


@csrf_exempt
@login_not_required
def preflight(request: HttpRequest) -> HttpResponse:
    """Answer the preflight of a browser (CORS). The proxy returns the response to the browser.

    A URL of its own: a proxy forwards a request to the upstream if ``authorize`` responds 2xx.
    """
    request._cache_update_cache = False  # type: ignore[attr-defined]
    try:
        headers = cors.preflight(read(request), request.headers)
    except RefusedException as refused:
        return refusal(refused, refusal_headers(refused, request))
    return HttpResponse(status=204, headers=headers)


async def aauthorize(request: HttpRequest) -> HttpResponse:
    """Decide like ``authorize``, for ``apikeys.gateway.asgi.ForwardAuth``."""
    original = None
    try:
        original = read(request)
        response = allowed(await adecide(original), original)
    except RefusedException as refused:
        headers = await arefusal_headers(refused, request, *_line(original))
        response = refusal(refused, headers)
    except BaseException as error:
        original = None  # its headers contain the credential
        empty_frames(error)
        raise
    return _readable(response, await cors.afields(original))


def _readable(response: HttpResponse, fields: dict[str, str]) -> HttpResponse:
    """Add the header ``fields`` that let a page of another origin read the response."""
    for name, value in fields.items():
        if name == "Vary":
            patch_vary_headers(response, [value])
        else:
            response[name] = value
    return response


def _line(original: Original | None) -> tuple[str, str]:
    """Return the method and the target of the original request, as far as they are known."""
    return ("", "") if original is None else (original.method, original.target)


def allowed(decision: Decision, original: Original) -> HttpResponse:
    """Return the response that allows a request."""
    headers = {**identity(decision.access), **decision.fields, "Vary": vary()}
    if seconds := max_age(decision.access, original):
        # Only nginx may cache it: the documented cache key has the original request.
        headers["X-Accel-Expires"] = str(seconds)  # nginx must read this header first
        headers["Cache-Control"] = f"private, max-age={seconds}"
    else:
        headers["Cache-Control"] = "no-store"
    return HttpResponse(headers=headers, content_type="text/plain")


def refusal(refused: RefusedException, headers: Mapping[str, Any]) -> HttpResponse:
    """Return the response that refuses a request, with the same body as DRF's."""
    facts: Any = refused.detail
    body = json.dumps(facts, separators=(",", ":"))  # ASCII, in one line
    return HttpResponse(
        JSONRenderer().render(facts),
        status=refused.status_code,
        content_type="application/json",
        headers={**headers, BODY_HEADER: body, "Vary": vary()},
    )
