"""Middleware that remembers from where a request came, for the audit log."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from .networks import asked_from

__all__ = ["origin_middleware"]


@sync_and_async_middleware
def origin_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Tells the audit log from where keys are changed in Django's admin and your own views.

    The settings pages and the JSON API do so without it.
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
