"""Accept keys and OAuth tokens in plain Django views, sync and async.

The decorator and the middleware refuse with the same status, body and headers as ``apikeys.drf``.
The classes for REST framework views live there.
"""

from collections.abc import Callable, Collection, Iterable
from functools import wraps
from typing import Any, Final, TypeVar, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables

from .. import acceptance, refusals, signatures, usage
from ..access import Access
from ..conf import app_settings
from ..databases import unavailable
from ..legacy import verify as legacy
from ..limits.counting import aspend, spend, spent
from ..refusals import Refusal, Refused
from ..signatures import messages
from ..verify import SENSITIVE, averify, verify_unhidden
from . import discovery, header, shared_caches, views
from .header import answer, not_authenticated, read_credential, read_unhidden

__all__ = ["BearerMiddleware", "aauthenticate", "authenticate", "refuse", "require_scopes"]

V = TypeVar("V", bound=Callable[..., Any])


def refuse(refusal: Refusal, scope: str = "", **params: str) -> HttpResponse:
    """Return the response for ``refusal``: status, ``{"detail", "code"}``, ``WWW-Authenticate``."""
    body, headers = answer(refusal, scope, **params)
    response = JsonResponse(body, status=refusal.status, headers=headers)
    response.data = body  # type: ignore[attr-defined]  # as in REST framework, to count refusals
    return response


def respond(refused: Refused) -> HttpResponse:
    """Return the response for a refusal that carries header fields."""
    response = refuse(refused.refusal)
    for name, value in refused.headers.items():
        response[name] = value
    return response


def refusal_of(error: Exception) -> Refused:
    """Return the refusal for ``error``, or raise ``error`` if it is a bug."""
    if isinstance(error, Refused):
        return error
    if (refusal := unavailable.refusal(error)) is None:
        raise error
    return Refused(refusal)


def finish(request: HttpRequest, response: Any, scopes: Iterable[str] = ()) -> Any:
    """Add the header fields that every adapter sends to the response.

    They tell caches which requests may share it, and the caller how many requests remain. A
    refused caller also learns where to get a token, and the ``scopes`` to request.
    """
    if isinstance(response, HttpResponseBase):
        shared_caches.protect(request.META, response)
        if getattr(getattr(request, "session", None), "accessed", False):
            # Django's session middleware does this too late for a `cache_page` inside it.
            patch_vary_headers(response, ("Cookie",))
        if fields := spent(request):
            for name, value in fields.items():
                response.setdefault(name, value)
        if response.status_code in discovery.REFUSED:
            discovery.point(request, response, scopes)
    return response


_hides_credential: Final = sensitive_variables("credential", *header.SENSITIVE, *SENSITIVE)


@_hides_credential
def authenticate(request: HttpRequest) -> Access | None:
    """Verify the credential of ``request``. Return ``None`` without one. Raises ``Refused``."""
    credential = read_unhidden(request)
    access = _otherwise(request) if credential is None else verify_unhidden(credential, request)
    if access is not None:
        shared_caches.keep_out_of_site_cache(request)
    return access


@_hides_credential
async def aauthenticate(request: HttpRequest) -> Access | None:
    """Authenticate like ``authenticate``, without blocking the event loop."""
    access = None
    if (credential := read_credential(request)) is not None:
        access = await averify(credential, request)
    elif app_settings.LEGACY or messages.is_signed(request):
        access = await sync_to_async(_otherwise)(request)
    if access is not None:
        shared_caches.keep_out_of_site_cache(request)
    return access


def identify(request: HttpRequest) -> Access | None:
    """Authenticate like ``authenticate``, but reuse the ``Access`` that another adapter found."""
    access = getattr(request, "auth", None)  # inlined from _known: one call less at every request
    return access if isinstance(access, Access) else authenticate(request)


async def aidentify(request: HttpRequest) -> Access | None:
    """Identify like ``identify``, without blocking the event loop."""
    return _known(request) or await aauthenticate(request)


def _otherwise(request: HttpRequest) -> Access | None:
    if app_settings.LEGACY and (access := legacy.authenticate(request)) is not None:
        return access
    return signatures.authenticate(request)


def require_scopes(*scopes: str, accepts: Collection[str] | None = None) -> Callable[[V], V]:
    """Decorate a view to require a credential with all of ``scopes``.

    The decorator sets ``request.auth`` to the ``Access`` and ``request.user`` to the user or
    ``ProjectUser``. It accepts no cookie, so the view is exempt from CSRF protection.

    ``accepts`` lists the kinds of credentials that the view accepts; ``None`` means ``ACCEPTS``.

    Raises ``TypeError`` if no scope is given, or an unknown kind.
    """
    if not scopes or not all(isinstance(scope, str) for scope in scopes):
        raise TypeError("require_scopes() needs at least one scope, as a string.")
    acceptance.check_names(accepts)

    def decorate(view: V) -> V:
        async def aguarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            try:
                access = await aidentify(request)
                if (denied := _deny(request, access, scopes, accepts)) is None:
                    await aspend(cast("Access", access), request)
                    await usage.anote_scopes(cast("Access", access), scopes)
            except Exception as error:  # noqa: BLE001
                denied = respond(refusal_of(error))
            if denied is not None:
                return finish(request, denied, scopes)
            enter(request, cast("Access", access))
            try:
                response = await view(request, *args, **kwargs)
            except Exception as error:
                refusal = acceptance.in_view(error, acceptance.function_name(view), access)
                if refusal is None:
                    raise
                response = refuse(refusal)
            return finish(request, response)

        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            try:
                access = identify(request)
                if (denied := _deny(request, access, scopes, accepts)) is None:
                    spend(cast("Access", access), request)
                    usage.note_scopes(cast("Access", access), scopes)
            except Exception as error:  # noqa: BLE001
                denied = respond(refusal_of(error))
            if denied is not None:
                return finish(request, denied, scopes)
            enter(request, cast("Access", access))
            try:
                response = view(request, *args, **kwargs)
            except Exception as error:
                refusal = acceptance.in_view(error, acceptance.function_name(view), access)
                if refusal is None:
                    raise
                response = refuse(refusal)
            return finish(request, response)

        guard: Any = wraps(view)(aguarded if _is_async(view) else guarded)
        guard.required_scopes, guard.accepts = scopes, accepts
        # The guard accepts no cookie, and refuses requests without a credential itself.
        return cast("V", csrf_exempt(login_not_required(guard)))

    return decorate


def _is_async(view: Any) -> bool:
    """Return whether ``view`` is async, or is the ``dispatch`` of a class with async handlers."""
    owner = getattr(getattr(view, "func", view), "__self__", None)
    return iscoroutinefunction(view) or bool(getattr(owner, "view_is_async", False))


def _known(request: HttpRequest) -> Access | None:
    access = getattr(request, "auth", None)
    return access if isinstance(access, Access) else None


def _deny(
    request: HttpRequest,
    access: Access | None,
    scopes: tuple[str, ...],
    accepts: Collection[str] | None,
) -> HttpResponse | None:
    if access is None:
        return refuse(not_authenticated(request))
    if accepts is not None or app_settings.ACCEPTS is not None:
        acceptance.check(access, accepts)
    if not access.allows(*scopes):
        return refuse(refusals.INSUFFICIENT_SCOPE, scope=" ".join(scopes))
    return None


def enter(request: HttpRequest, access: Access) -> None:
    """Set ``request.user`` and ``request.auth`` for a view."""
    entered = cast("Any", request)
    entered.user, entered.auth = access.principal, access


class BearerMiddleware:
    """Set ``request.auth`` to the ``Access`` of the credential, or ``None``, for every view.

    Every request with a credential counts towards its rate limits. An invalid credential is
    refused here. The view checks scopes with ``require_scopes`` or ``request.auth.allows(…)``.

    ``request.user`` does not change. Otherwise a view that requires a logged-in user would
    accept a key whose scopes were never checked. ``require_scopes`` sets it.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        self.process_view = self._acheck_view if self.is_async else self._check_view

    def __call__(self, request: HttpRequest) -> Any:
        if self.is_async:
            return self._call_async(request)
        try:
            access = authenticate(request)
            if access is not None:
                spend(access, request)
        except Exception as error:  # noqa: BLE001
            scopes = views.scopes_of(request)
            return finish(request, respond(refusal_of(error)), scopes)
        cast("Any", request).auth = access
        return finish(request, self.get_response(request))

    def _check_view(self, request: HttpRequest, view: Any, *args: Any) -> HttpResponse | None:
        """Refuse a credential that the view does not accept. Called as ``process_view``."""
        if (access := _known(request)) is None:
            return None
        try:
            acceptance.check(access, views.accepts_of(view, request.method or ""))
        except Refused as refused:
            return respond(refused)
        return None

    async def _acheck_view(self, *args: Any) -> HttpResponse | None:
        return self._check_view(*args)

    async def _call_async(self, request: HttpRequest) -> Any:
        try:
            access = await aauthenticate(request)
            if access is not None:
                await aspend(access, request)
        except Exception as error:  # noqa: BLE001
            scopes = views.scopes_of(request)
            return finish(request, respond(refusal_of(error)), scopes)
        cast("Any", request).auth = access
        return finish(request, await self.get_response(request))

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer 503 during a database outage, and 403 if the credential lacks a user."""
        if (access := _known(request)) is None:
            return None
        name = request.resolver_match._func_path if request.resolver_match else "The view"
        refusal = acceptance.in_view(error, name, access)
        return None if refusal is None else refuse(refusal)
