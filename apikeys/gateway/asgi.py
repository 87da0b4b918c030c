"""ASGI applications: the forward-auth endpoint without middleware, and the reverse proxy."""

from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.urls import reverse, set_script_prefix
from django.utils import translation
from django.utils.cache import patch_vary_headers

ASGIApplication = Callable[[Any, Any, Any], Awaitable[None]]

__all__ = ["get_application"]


def get_application() -> ASGIApplication:
    """Set up Django and return the reverse proxy of ``apikeys.gateway.proxy``.

    Serve it with ``uvicorn --factory apikeys.gateway.asgi:get_application --no-proxy-headers``.
    """
    django.setup(set_prefix=False)
    from .proxy import ReverseProxy

    return ReverseProxy()


class ForwardAuth:
    """Answer the forward-auth endpoint in the event loop; pass other requests to ``application``.

    Django's ASGI handler uses a new thread, and so a new database connection, for each request.
    This class needs a thread only if the decision is not in memory. No middleware runs for
    these requests; refusals are translated if the site uses ``LocaleMiddleware``.
    """

    def __init__(self, application: ASGIApplication) -> None:
        self._application = application
        self._respond: Any = convert_exception_to_response(_respond)
        self._path: str | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not self._is_asked(scope):
            await self._application(scope, receive, send)
            return
        try:
            request = ASGIRequest(scope, BytesIO())
        except UnicodeDecodeError:
            response: HttpResponse = HttpResponseBadRequest()
        else:
            response = await self._respond(request)
        headers = [(n.lower().encode(), v.encode("latin-1")) for n, v in response.items()]
        body = b"" if scope["method"] == "HEAD" else response.content
        headers.append((b"content-length", str(len(response.content)).encode()))
        status = response.status_code
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _is_asked(self, scope: Any) -> bool:
        set_script_prefix(get_script_prefix(scope))
        if self._path is None:
            self._path = reverse("apikeys-gateway-authorize")
        path: str = scope["path"]
        return path.startswith(self._path)


async def _respond(request: HttpRequest) -> HttpResponse:
    from .views import aauthorize

    if "django.middleware.locale.LocaleMiddleware" not in settings.MIDDLEWARE:
        return await aauthorize(request)
    with translation.override(translation.get_language_from_request(request)):
        response = await aauthorize(request)
    patch_vary_headers(response, ["Accept-Language"])
    return response
