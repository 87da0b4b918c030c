"""Keys and OAuth tokens for plain Django views, sync and async: a decorator and a middleware.

They refuse with the same status, body and headers as ``apikeys.drf`` does.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from . import refusals, signatures
from .access import Access
from .conf import app_settings
from .header import answer, read_credential
from .legacy import verify as legacy
from .refusals import Refusal, Refused
from .verify import averify, verify

__all__ = ["BearerMiddleware", "aauthenticate", "authenticate", "refuse", "require_scopes"]

V = TypeVar("V", bound=Callable[..., Any])


def refuse(refusal: Refusal, scope: str = "", **params: str) -> HttpResponse:
    """The response for ``refusal``: status, ``{"detail", "code"}``, ``WWW-Authenticate``."""
    body, headers = answer(refusal, scope, **params)
    return JsonResponse(body, status=refusal.status, headers=headers)


def authenticate(request: HttpRequest) -> Access | None:
    """Who sends ``request``; ``None`` if it bears no credential. Raises ``Refused``."""
    if (credential := read_credential(request)) is not None:
        return verify(credential, request)
    return _otherwise(request)


async def aauthenticate(request: HttpRequest) -> Access | None:
    """As ``authenticate``, without blocking the event loop."""
    if (credential := read_credential(request)) is not None:
        return await averify(credential, request)
    if app_settings.LEGACY or signatures.is_signed(request):
        return await sync_to_async(_otherwise)(request)
    return None


def _otherwise(request: HttpRequest) -> Access | None:
    if app_settings.LEGACY and (access := legacy.authenticate(request)) is not None:
        return access
    return signatures.authenticate(request)


def require_scopes(*scopes: str) -> Callable[[V], V]:
    """A view decorator: only for credentials that have all of ``scopes``.

    The view finds the ``Access`` in ``request.auth`` and the user, or the ``ProjectUser``, in
    ``request.user``. It takes no cookie, so it is exempt from CSRF protection.
    """
    if not scopes or not all(isinstance(scope, str) for scope in scopes):
        raise TypeError("require_scopes() takes the scopes that the view needs, one or more.")

    def decorate(view: V) -> V:
        async def aguarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            try:
                access = _known(request) or await aauthenticate(request)
            except Refused as refused:
                return refuse(refused.refusal)
            return _deny(request, access, scopes) or await view(request, *args, **kwargs)

        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            try:
                access = _known(request) or authenticate(request)
            except Refused as refused:
                return refuse(refused.refusal)
            return _deny(request, access, scopes) or view(request, *args, **kwargs)

        return cast("V", csrf_exempt(wraps(view)(aguarded if _is_async(view) else guarded)))

    return decorate


def _is_async(view: Any) -> bool:
    """Also the ``dispatch`` of a class with async handlers, as ``method_decorator`` has it."""
    owner = getattr(getattr(view, "func", view), "__self__", None)
    return iscoroutinefunction(view) or bool(getattr(owner, "view_is_async", False))


def _known(request: HttpRequest) -> Access | None:
    access = getattr(request, "auth", None)
    return access if isinstance(access, Access) else None


def _deny(
    request: HttpRequest, access: Access | None, scopes: tuple[str, ...]
) -> HttpResponse | None:
    if access is None:
        return refuse(refusals.NOT_AUTHENTICATED)
    if not access.allows(*scopes):
        return refuse(refusals.INSUFFICIENT_SCOPE, scope=" ".join(scopes))
    enter(request, access)
    return None


def enter(request: HttpRequest, access: Access) -> None:
    """Let a view find who it is."""
    entered = cast("Any", request)
    entered.user, entered.auth = access.principal, access


class BearerMiddleware:
    """``request.auth``: the ``Access`` of who sends a credential, or ``None``, for every view.

    A credential that is no good is refused here. Whether a good one is good for a view stays
    the view's to say: with ``require_scopes``, or by asking ``request.auth.allows(…)``.

    ``request.user`` stays as it was, so that no view which asks for a logged-in user lets a
    key in whose scopes nobody checked; ``require_scopes`` sets it.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if self.is_async:
            return self._call_async(request)
        try:
            access = authenticate(request)
        except Refused as refused:
            return refuse(refused.refusal)
        cast("Any", request).auth = access
        return self.get_response(request)

    async def _call_async(self, request: HttpRequest) -> Any:
        try:
            access = await aauthenticate(request)
        except Refused as refused:
            return refuse(refused.refusal)
        cast("Any", request).auth = access
        return await self.get_response(request)
