"""Refusals as DRF exceptions: status, JSON body and ``WWW-Authenticate`` (RFC 6750 section 3)."""

import logging
from functools import lru_cache
from typing import Any

from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    ErrorDetail,
    MethodNotAllowed,
    PermissionDenied,
)
from rest_framework.request import Request

from .. import refusals
from ..header import answer
from ..refusals import Refusal
from .scoping import view_name

logger = logging.getLogger("apikeys")


@lru_cache(maxsize=1024)
def _detail(code: str, text: str) -> dict[str, Any]:
    """The body as DRF would make it, anew at each refusal, of plain texts."""
    return {"detail": ErrorDetail(text, code), "code": ErrorDetail(code, code)}


class RefusedException(APIException):
    """Answers with the refusal's status, ``{"detail", "code"}`` and challenge.

    DRF rewrites the status and the header of a 401 after the view's first authentication
    class. A bearer credential that was refused says so itself, wherever its class stands;
    hence the setters that take nothing.
    """

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
        """Seconds, for ``Retry-After``."""
        return self.refusal.retry_after


class Unauthorized(RefusedException, AuthenticationFailed):
    """401: the credential is missing or no good."""


class Forbidden(RefusedException, PermissionDenied):
    """403: the credential is good, but not for this."""


class InsufficientScope(Forbidden):
    """403 ``insufficient_scope``: raise it where a view finds that more is needed."""

    def __init__(self, *required: str) -> None:
        super().__init__(refusals.INSUFFICIENT_SCOPE, scope=" ".join(required))


_KINDS: dict[int, type[RefusedException]] = {401: Unauthorized, 403: Forbidden}


def refuse(refusal: Refusal, **params: Any) -> RefusedException:
    """The exception to raise for ``refusal``."""
    return _KINDS.get(refusal.status, RefusedException)(refusal, **params)


def unavailable(error: Exception) -> RefusedException:
    """The exception to raise for a database that is away."""
    logger.error("A request could not be answered, as the database is away: %s", error)
    return refuse(refusals.TEMPORARILY_UNAVAILABLE)


def scope_not_declared(request: Request, view: Any) -> APIException:
    """403 that names the view and the mend, for its developer to read.

    405 instead where the view does not have the method at all.
    """
    if view is not None and not hasattr(view, (request.method or "").lower()):
        return MethodNotAllowed(request.method or "")
    return refuse(refusals.SCOPE_NOT_DECLARED, view=view_name(view), method=request.method or "")
