"""Keys and OAuth tokens for django-ninja: ``apikeys.ninja.KeyAuth``."""

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja.errors import HttpError
from ninja.security.base import AuthBase

from . import http, refusals
from .access import Access
from .refusals import Refusal, Refused

__all__ = ["Denied", "KeyAuth"]


class Denied(HttpError):  # noqa: N818 - the word of this package for it
    """What ``KeyAuth`` refuses a request with; handle it to answer otherwise."""

    def __init__(self, refusal: Refusal, scope: str = "") -> None:
        super().__init__(refusal.status, str(refusal.message).format(scope=scope))
        self.refusal = refusal
        self.scope = scope


class KeyAuth(AuthBase):
    """``auth=KeyAuth("payments:read")``: for credentials that have all of these scopes.

    Sync and async operations find the ``Access`` in ``request.auth``, and the user or the
    ``ProjectUser`` in ``request.user``.
    """

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __init__(self, *scopes: str) -> None:
        if not scopes or not all(isinstance(scope, str) for scope in scopes):
            raise TypeError("KeyAuth() takes the scopes that the operation needs, one or more.")
        super().__init__()
        self.scopes = scopes
        self.is_async = True  # asks ninja to await what an async operation gets

    def __call__(self, request: HttpRequest) -> Access | Awaitable[Access]:
        _answer_as_everywhere(sys._getframe(1).f_locals.get("self"))
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # a sync operation
            return self._authenticate(request)
        return self._aauthenticate(request)

    def _authenticate(self, request: HttpRequest) -> Access:
        try:
            access = http.authenticate(request)
        except Refused as refused:
            # Not from it: its frames hold the credential, and error reports show frames.
            refusal = refused.refusal
        else:
            return self._admit(request, access)
        raise Denied(refusal)

    async def _aauthenticate(self, request: HttpRequest) -> Access:
        try:
            access = await http.aauthenticate(request)
        except Refused as refused:
            refusal = refused.refusal
        else:
            return self._admit(request, access)
        raise Denied(refusal)

    def _admit(self, request: HttpRequest, access: Access | None) -> Access:
        if access is None:
            raise Denied(refusals.NOT_AUTHENTICATED)
        if not access.allows(*self.scopes):
            raise Denied(refusals.INSUFFICIENT_SCOPE, " ".join(self.scopes))
        http.enter(request, access)
        return access


def _answer_as_everywhere(operation: Any) -> None:
    """Give the API of ``operation`` the answer to ``Denied``, if it has none.

    Ninja tells an authentication nothing of the API that it stands in, hence the look at who
    calls. Where that finds nothing, a refusal is its plain HttpError: the right status.
    """
    api = getattr(operation, "api", None)
    if api is not None and Denied not in getattr(api, "_exception_handlers", {}):
        api.add_exception_handler(Denied, _answer)


def _answer(request: HttpRequest, denied: Denied) -> HttpResponse:
    return http.refuse(denied.refusal, denied.scope)
