"""Refusals as DRF exceptions: status, JSON body and ``WWW-Authenticate`` (RFC 6750 section 3)."""

from functools import lru_cache
from typing import Any

from django.utils.translation import override
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    MethodNotAllowed,
    PermissionDenied,
)
from rest_framework.request import Request

from .. import refusals
from ..conf import app_settings
from ..refusals import Refusal
from .scoping import view_name


@lru_cache(maxsize=1024)
def challenge(refusal: Refusal, realm: str, scope: str = "", **params: str) -> str:
    """The value of ``WWW-Authenticate`` for ``refusal``."""
    parameters = {"realm": realm}
    if refusal.error is not None:
        with override(None):  # a header is for programs: ASCII, in one language
            description = str(refusal.message).format(scope=scope, **params)
        parameters |= {"error": refusal.error, "error_description": description}
    if scope:
        parameters["scope"] = scope
    return "Bearer " + ", ".join(f'{k}="{_quotable(v)}"' for k, v in parameters.items())


def _quotable(text: str) -> str:
    # RFC 6750 section 3 leaves out the quote and the backslash.
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in text)


class RefusedException(APIException):
    """Answers with the refusal's status, ``{"detail", "code"}`` and challenge.

    DRF rewrites the status and the header of a 401 after the view's first authentication
    class. A bearer credential that was refused says so itself, wherever its class stands;
    hence the setters that take nothing.
    """

    def __init__(self, refusal: Refusal, scope: str = "", **params: str) -> None:
        self.refusal = refusal
        message = str(refusal.message).format(scope=scope, **params)
        self._header = challenge(refusal, app_settings.REALM, scope, **params)
        super().__init__({"detail": message, "code": refusal.code}, refusal.code)

    @property
    def status_code(self) -> int:
        return self.refusal.status

    @status_code.setter
    def status_code(self, value: int) -> None:
        pass

    @property
    def auth_header(self) -> str | None:
        return self._header if self.refusal.status != 503 else None

    @auth_header.setter
    def auth_header(self, value: str) -> None:
        pass

    @property
    def wait(self) -> int | None:
        """Seconds, for ``Retry-After``."""
        return 60 if self.refusal.status == 503 else None


class Unauthorized(RefusedException, AuthenticationFailed):
    """401: the credential is missing or no good."""


class Forbidden(RefusedException, PermissionDenied):
    """403: the credential is good, but not for this."""


class InsufficientScope(Forbidden):
    """403 ``insufficient_scope``: raise it where a view finds that more is needed."""

    def __init__(self, *required: str) -> None:
        super().__init__(refusals.INSUFFICIENT_SCOPE, scope=" ".join(required))


def refuse(refusal: Refusal, **params: Any) -> RefusedException:
    """The exception to raise for ``refusal``."""
    kinds: dict[int, type[RefusedException]] = {401: Unauthorized, 403: Forbidden}
    return kinds.get(refusal.status, RefusedException)(refusal, **params)


def scope_not_declared(request: Request, view: Any) -> APIException:
    """403 that names the view and the mend, for its developer to read.

    405 instead where the view does not have the method at all.
    """
    if view is not None and not hasattr(view, (request.method or "").lower()):
        return MethodNotAllowed(request.method or "")
    return refuse(refusals.SCOPE_NOT_DECLARED, view=view_name(view), method=request.method or "")
