"""Middleware for Django's admin and your own views."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin

from .databases import unavailable
from .http import outages
from .limits.networks import asked_from

__all__ = ["OutageMiddleware", "origin_middleware"]


class OutageMiddleware(MiddlewareMixin):
    """Return 503 with ``Retry-After`` instead of 500 while the database is unavailable.

    Add it for Django's admin and your own views. The views of this app do not need it.
    """

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return a page that needs no database. Return ``None`` for any other error."""
        if (refusal := unavailable.in_view(error)) is None:
            return None
        return outages.unavailable_page(request, refusal)


@sync_and_async_middleware
def origin_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Record the client's IP address in audit events of Django's admin and your own views.

    The settings pages and the JSON API do not need it.
    """
    if iscoroutinefunction(get_response):
        aget_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]] = get_response

        async def amiddleware(request: HttpRequest) -> HttpResponseBase:
            with asked_from(request):
                return await aget_response(request)

        return amiddleware

    def middleware(request: HttpRequest) -> HttpResponseBase:
        with asked_from(request):
            response: HttpResponseBase = get_response(request)
            return response

    return middleware
