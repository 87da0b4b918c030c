"""Accept keys and OAuth tokens in django-ninja (``apikeys.ninja.KeyAuth``)."""

import asyncio
import sys
from collections.abc import Awaitable, Collection, Mapping
from functools import partial, wraps
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from ninja.errors import AuthenticationError, HttpError
from ninja.security.base import AuthBase

from . import acceptance, http, refusals, usage
from .access import Access
from .conf import app_settings
from .http import discovery
from .http.header import challenge, not_authenticated
from .limits.counting import aspend, spend
from .refusals import Refusal, Refused

__all__ = ["Denied", "KeyAuth"]

_LEFT = "_apikeys_left"  # scopes, set on a request that is left to the next authenticator
_FRAMES = 10  # maximum number of frames between ninja's operation and KeyAuth


class Denied(HttpError):  # noqa: N818 - a refusal, not a fault
    """Raised by ``KeyAuth`` to refuse a request. Add a handler to change the response."""

    def __init__(
        self, refusal: Refusal, scope: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(refusal.status, str(refusal.message).format(scope=scope))
        self.refusal = refusal
        self.scope = scope
        #: More header fields for the response.
        self.headers = headers or {}
        #: The scopes of the operation.
        self.required: Collection[str] = ()


class KeyAuth(AuthBase):
    """Require a credential with all given scopes: ``auth=KeyAuth("payments:read")``.

    In a list of authenticators, the next one is tried only if the request has no credential. A
    refused credential ends the request with ``Denied``.

    Sync and async operations get the ``Access`` as ``request.auth``, and the user or
    ``ProjectUser`` as ``request.user``. ``accepts`` lists the kinds of credentials that the
    operation accepts; ``None`` means ``ACCEPTS``. Raises ``TypeError`` without a scope.
    """

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __init__(self, *scopes: str, accepts: Collection[str] | None = None) -> None:
        if not scopes or not all(isinstance(scope, str) for scope in scopes):
            raise TypeError("KeyAuth() needs at least one scope, as a string.")
        acceptance.check_names(accepts)
        super().__init__()
        self.scopes = scopes
        self.accepts = accepts
        self.is_async = True  # tells ninja to await the result in an async operation

    def __call__(self, request: HttpRequest) -> Access | Awaitable[Access | None] | None:
        # Ninja passes only the request to an authenticator, and its views are closures, so the
        # operation can only be found in the caller's frame. Without it, a refusal is a plain
        # HttpError of ninja with the right status.
        operation = _operation()
        _answer_as_everywhere(operation)
        # A request without a credential is left to the next authenticator, if there is one.
        is_last = (getattr(operation, "auth_callbacks", None) or [None])[-1] is self
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # a sync operation
            return self._authenticate(request, is_last)
        return self._aauthenticate(request, is_last)

    def _authenticate(self, request: HttpRequest, is_last: bool) -> Access | None:
        try:
            access = self._check(request, http.identify(request), is_last)
            if access is None:
                return None
            spend(access, request)
            usage.note_scopes(access, self.scopes)
        except Exception as error:  # noqa: BLE001
            # Raise it later: the frames of this error contain the credential, and error reports
            # show frames.
            denied = _denied(error, self.scopes)
        else:
            http.enter(request, access)
            return access
        raise denied

    async def _aauthenticate(self, request: HttpRequest, is_last: bool) -> Access | None:
        try:
            access = self._check(request, await http.aidentify(request), is_last)
            if access is None:
                return None
            await aspend(access, request)
            await usage.anote_scopes(access, self.scopes)
        except Exception as error:  # noqa: BLE001
            denied = _denied(error, self.scopes)
        else:
            http.enter(request, access)
            return access
        raise denied

    def _check(self, request: HttpRequest, access: Access | None, is_last: bool) -> Access | None:
        if access is None:
            if is_last:
                raise Denied(not_authenticated(request))
            vars(request)[_LEFT] = self.scopes
            return None
        if self.accepts is not None or app_settings.ACCEPTS is not None:
            acceptance.check(access, self.accepts)
        if not access.allows(*self.scopes):
            raise Denied(refusals.INSUFFICIENT_SCOPE, " ".join(self.scopes))
        return access


def _denied(error: Exception, scopes: Collection[str]) -> Denied:
    if isinstance(error, Denied):
        denied = error
    else:
        refused = http.refusal_of(error)
        denied = Denied(refused.refusal, headers=refused.headers)
    denied.required = scopes
    return denied


def _operation() -> Any:
    """Return the calling operation of ninja, maybe behind a subclass or function of the site."""
    frame: Any = sys._getframe(2)
    for _ in range(_FRAMES):
        found = frame and frame.f_locals.get("self")
        if hasattr(found, "auth_callbacks"):
            return found
        frame = frame and frame.f_back
    return None


def _answer_as_everywhere(operation: Any) -> None:
    """Make ``operation`` and its API send the same responses as the other adapters."""
    api = getattr(operation, "api", None)
    if api is None:
        return
    if Denied not in getattr(api, "_exception_handlers", {}):
        api.add_exception_handler(Denied, _answer)
        _challenge(api)
        for error in (DatabaseError, InterfaceError, Refused, AttributeError, ValueError):
            if error not in api._exception_handlers:
                api.add_exception_handler(error, partial(_answer_error, api))
    _finish_answers(api, "on_exception")
    for method in ("_result_to_response", "_stream_response", "_async_stream_response"):
        _finish_answers(operation, method)


def _challenge(api: Any) -> None:
    """Add ``WWW-Authenticate`` to ninja's 401 if ``KeyAuth`` was one of several authenticators."""
    handlers = api._exception_handlers
    default = handlers.get(AuthenticationError) or handlers.get(HttpError)
    if getattr(getattr(default, "func", default), "__module__", "") != "ninja.errors":
        return  # the site has a custom handler

    def answer(request: HttpRequest, error: Any) -> HttpResponse:
        response: HttpResponse = default(request, error)
        if _LEFT in vars(request):
            value = challenge(refusals.NOT_AUTHENTICATED, app_settings.REALM)
            response.headers.setdefault("WWW-Authenticate", value)
            discovery.point(request, response, vars(request)[_LEFT])
        return response

    api.add_exception_handler(AuthenticationError, answer)


def _finish_answers(owner: Any, name: str) -> None:
    """Wrap the method ``name`` of ``owner``, so that ``http.finish`` sees its responses."""
    make = getattr(owner, name, None)
    if make is None or hasattr(make, "finishes"):
        return
    if iscoroutinefunction(make):

        @wraps(make)
        async def finished(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return http.finish(request, await make(request, *args, **kwargs))
    else:

        @wraps(make)
        def finished(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return http.finish(request, make(request, *args, **kwargs))

    finished.finishes = True  # type: ignore[attr-defined]
    setattr(owner, name, finished)


def _answer_error(api: Any, request: HttpRequest, error: Exception) -> Any:
    """Answer 503 if the database is unavailable, and 403 if the credential lacks a user.

    Requests without a credential, and all other errors, go to the default handler.
    """
    access = getattr(request, "auth", None)
    if isinstance(access, Access):
        refusal = acceptance.in_view(error, _view_name(error), access)
        if refusal is not None:
            return http.refuse(refusal)
    return api._exception_handlers[Exception](request, error)


def _view_name(error: Exception) -> str:
    """Return the name of the function in which ``error`` was raised."""
    trace = error.__traceback__
    while trace is not None:
        view = getattr(trace.tb_frame.f_locals.get("self"), "view_func", None)
        if view is not None:
            return acceptance.function_name(view)
        trace = trace.tb_next
    return "A view"


def _answer(request: HttpRequest, denied: Denied) -> HttpResponse:
    response = http.refuse(denied.refusal, denied.scope)
    for name, value in denied.headers.items():
        response[name] = value
    discovery.point(request, response, denied.required)
    return response
