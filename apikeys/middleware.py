"""Middleware for Django's admin and your own views."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin

from .databases import unavailable
from .http import outages
from .limits.networks import asked_from

__all__ = ["OutageMiddleware", "origin_middleware"]

_ERROR: Final = "_apikeys_error"


class OutageMiddleware(MiddlewareMixin):
    """Return 503 with ``Retry-After`` instead of 500 while the database is unavailable.

    Add it for Django's admin and your own views. The views of this app do not need it, unless a
    middleware needs the database before them, such as Django's ``LoginRequiredMiddleware``.
    """

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        got_request_exception.connect(_note_error, dispatch_uid="apikeys.middleware")

    def __call__(self, request: HttpRequest) -> Any:
        if self.async_mode:
            return self.__acall__(request)
        response: Any = self.get_response(request)
        return _or_503(request, response)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        response: Any = self.get_response(request)
        return _or_503(request, await response)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return a page that needs no database. Return ``None`` for any other error."""
        if (refusal := unavailable.in_view(error)) is None:
            return None
        return outages.unavailable_page(request, refusal)


def _note_error(*, request: HttpRequest | None = None, **kwargs: object) -> None:
    """Note the error that Django is about to answer with 500.

    Django asks no ``process_exception`` about the exception of another middleware.
    """
    if request is not None:
        request.__dict__[_ERROR] = sys.exc_info()[1]


def _or_503(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    error = request.__dict__.pop(_ERROR, None)
    if error is None or (refusal := unavailable.in_view(error)) is None:
        return response
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
