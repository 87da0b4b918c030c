"""The forward-auth endpoint: 200 with who it is, or the refusal that a DRF view would give."""

import json
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.renderers import JSONRenderer

from ..access import Access
from ..drf.authentication import forget
from ..drf.exceptions import RefusedException
from .decide import adecide, decide, identity, max_age, refusal_headers
from .original import Original, read

#: nginx's ``auth_request`` drops the body of an answer; its configuration takes it from here.
BODY_HEADER = "X-Auth-Refusal"


@csrf_exempt
def authorize(request: HttpRequest, rest: str = "") -> HttpResponse:
    """May the request that the proxy asks about pass? Any method: proxies differ in theirs."""
    try:
        original = read(request)
        return allowed(decide(original), original)
    except RefusedException as exception:
        refused = exception
    except BaseException as error:
        forget(error)
        raise
    return refusal(refused)


async def aauthorize(request: HttpRequest) -> HttpResponse:
    """As ``authorize``, for ``apikeys.gateway.asgi.ForwardAuth``."""
    try:
        original = read(request)
        return allowed(await adecide(original), original)
    except RefusedException as exception:
        refused = exception
    except BaseException as error:
        forget(error)
        raise
    return refusal(refused)


def allowed(access: Access, original: Original) -> HttpResponse:
    seconds = max_age(access, original)
    caching = f"max-age={seconds}" if seconds else "no-store"
    return HttpResponse(
        headers={**identity(access), "Cache-Control": caching}, content_type="text/plain"
    )


def refusal(refused: RefusedException) -> HttpResponse:
    facts: Any = refused.detail
    body = json.dumps(facts, separators=(",", ":"))  # ASCII, in one line
    headers = refusal_headers(refused) | {BODY_HEADER: body}
    return HttpResponse(
        JSONRenderer().render(facts),
        status=refused.status_code,
        content_type="application/json",
        headers=headers,
    )
