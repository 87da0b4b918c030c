"""DRF exceptions for refusals: status, JSON body and ``WWW-Authenticate`` (RFC 6750 section 3)."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Final

from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    ErrorDetail,
    MethodNotAllowed,
    PermissionDenied,
)
from rest_framework.request import Request

from .. import acceptance, http, refusals, usage
from ..access import Access
from ..http.header import answer
from ..limits import networks
from ..refusals import Refusal
from ..usage import denied
from .foreign import in_permission
from .granted import BY_OTHERS, DENIED, GRANTED, PROJECT
from .scoping import declared_scopes, required_scopes, view_name

#: The status of a request that the permissions or throttles of a view refused.
_REFUSED: Final = frozenset({401, 403, 429})


@lru_cache(maxsize=1024)
def _detail(code: str, text: str) -> dict[str, Any]:
    """The body as DRF would make it, anew at each refusal, of plain texts."""
    return {"detail": ErrorDetail(text, code), "code": ErrorDetail(code, code)}


class RefusedException(APIException):
    """Answers with the refusal's status, ``{"detail", "code"}`` and challenge.

    DRF rewrites the status and the header of a 401 after the view's first authentication
    class. A bearer credential that was refused says so itself, wherever its class stands;
    so the setters do nothing.
    """

    #: Additional header fields of the response.
    fields: Mapping[str, str] = MappingProxyType({})

    def __init__(self, refusal: Refusal, scope: str = "", **params: str) -> None:
        self.refusal = refusal
        body, headers = answer(refusal, scope, **params)
        self._header = headers.get("WWW-Authenticate")
        self.detail = _detail(refusal.code, body["detail"]).copy()

    @property
    def status_code(self) -> int:
        return self.refusal.status

    @status_code.setter
    def status_code(self, value: int) -> None:
        pass

    @property
    def auth_header(self) -> str | None:
        return self._header

    @auth_header.setter
    def auth_header(self, value: str) -> None:
        pass

    @property
    def wait(self) -> int | None:
        """Seconds for ``Retry-After``."""
        return self.refusal.retry_after


class Unauthorized(RefusedException, AuthenticationFailed):
    """401: the credential is missing or invalid."""


class Forbidden(RefusedException, PermissionDenied):
    """403: the credential is valid, but not allowed to do this."""


class InsufficientScope(Forbidden):
    """403 ``insufficient_scope``. Raise it in a view that needs another scope."""

    def __init__(self, *required: str) -> None:
        super().__init__(refusals.INSUFFICIENT_SCOPE, scope=" ".join(required))


_KINDS: dict[int, type[RefusedException]] = {401: Unauthorized, 403: Forbidden}


def refuse(refusal: Refusal, **params: Any) -> RefusedException:
    """Return the exception to raise for ``refusal``."""
    return _KINDS.get(refusal.status, RefusedException)(refusal, **params)


def finish_answers(view: Any) -> None:
    """Pass the response of ``view`` to ``http.finish``.

    ``view.headers`` would replace the view's own ``Cache-Control``.
    """
    finalize = getattr(view, "finalize_response", None)
    if finalize is None or (isinstance(finalize, partial) and finalize.func is _finish):
        return
    view.finalize_response = partial(_finish, view, finalize)


def _finish(
    view: Any, finalize: Any, request: Request, response: Any, *args: Any, **kwargs: Any
) -> Any:
    response = finalize(request, response, *args, **kwargs)
    facts = request.__dict__
    if response.status_code in _REFUSED:
        if DENIED in facts:  # not noted at once: another permission may have passed
            denied.note(facts[DENIED], networks.client_ip(request._request))
    elif GRANTED in facts:
        access = getattr(request._request, "auth", None)  # faster than ``request.auth``
        if isinstance(access, Access):
            usage.note_scopes(access, facts[GRANTED], facts.get(PROJECT, ""))
    elif BY_OTHERS in facts:
        _note_declared(request, view)
    scopes = _scopes(request, view) if response.status_code == 401 else ()
    return http.finish(request._request, response, scopes)


def _note_declared(request: Request, view: Any) -> None:
    """Note the use of the scopes that another package's permissions checked."""
    access = getattr(request._request, "auth", None)
    if isinstance(access, Access):
        usage.note_scopes(access, _declared(request, view))


def _declared(request: Request, view: Any) -> tuple[str, ...]:
    try:
        return declared_scopes(request, view)
    except Exception:  # noqa: BLE001 - a site's permissions may look at the caller
        return ()  # the answer is made, and only its challenge is without scopes


def _scopes(request: Request, view: Any) -> tuple[str, ...]:
    """Return the scopes that a refused caller needs, as far as they are lists."""
    return _declared(request, view) or required_scopes(
        view, request.method or "", getattr(view, "action", None)
    )


def answer_errors(view: Any, access: Access) -> None:
    """Let ``view`` answer 503 in a database outage, and 403 if it cannot use ``access``.

    The view's exception handler runs first and decides the format.
    """
    view.get_exception_handler = partial(_handler, view, view.get_exception_handler, access)


def _handler(
    view: Any, get_exception_handler: Callable[[], Any], access: Access
) -> Callable[[Exception, Any], Any]:
    handle = get_exception_handler()

    def handle_errors_too(error: Exception, context: Any) -> Any:
        response = handle(error, context)
        if response is None:
            refusal = refusal_of(error, view, access)
            if refusal is not None:
                return handle(refuse(refusal), context)
        return response

    return handle_errors_too


def refusal_of(error: Exception, view: Any, access: Access) -> Refusal | None:
    """Return the refusal for an exception of ``view`` or its permissions; ``None`` for a bug."""
    return acceptance.in_view(error, view_name(view), access) or in_permission(error, access)


def scope_not_declared(request: Request, view: Any) -> APIException:
    """Return a 403 that names the view and the fix for its developer.

    Return 405 if the view does not have the method at all.
    """
    if view is not None and not hasattr(view, (request.method or "").lower()):
        return MethodNotAllowed(request.method or "")
    return refuse(refusals.SCOPE_NOT_DECLARED, view=view_name(view), method=request.method or "")
