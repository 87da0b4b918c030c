"""Accept keys and OAuth tokens in Strawberry (GraphQL): ``apikeys.strawberry.RequireScopes``."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from graphql import GraphQLError
from strawberry.extensions import FieldExtension
from strawberry.types import Info

from . import acceptance, http, refusals, usage
from .access import Access
from .http.header import not_authenticated
from .limits.counting import spend
from .refusals import Refusal, Refused

__all__ = ["RequireScopes"]


class RequireScopes(FieldExtension):
    """Require a credential with all given scopes to resolve a field.

    ``@strawberry.field(extensions=[RequireScopes("payments:read")])``. The resolver finds the
    ``Access`` as ``info.context.request.auth``, and the user or ``ProjectUser`` as its
    ``principal``. A refusal is an error with ``extensions.code``, and the other fields of the
    response stay. A request counts once towards its rate limits.

    ``request.user`` does not change. Otherwise a field without ``RequireScopes`` in the same
    operation would take the credential for a login.

    Raises ``TypeError`` without a scope, or for an unknown kind in ``accepts``.
    """

    def __init__(self, *scopes: str, accepts: Collection[str] | None = None) -> None:
        if not scopes or not all(isinstance(scope, str) for scope in scopes):
            raise TypeError("RequireScopes() needs at least one scope, as a string.")
        acceptance.check_names(accepts)
        self.scopes = scopes
        self.accepts = accepts

    def resolve(self, next_: Callable[..., Any], source: Any, info: Info, **kwargs: Any) -> Any:
        """Resolve the field of a sync resolver, or raise ``GraphQLError``.

        In an async view, return an awaitable, because the event loop must not wait for queries.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._admit(info)
            return next_(source, info, **kwargs)
        return self._resolve_later(next_, source, info, kwargs)

    async def _resolve_later(
        self, next_: Callable[..., Any], source: Any, info: Info, kwargs: dict[str, Any]
    ) -> Any:
        await sync_to_async(self._admit)(info)
        return next_(source, info, **kwargs)

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: Info, **kwargs: Any
    ) -> Any:
        """Resolve the field of an async resolver, or raise ``GraphQLError``."""
        await sync_to_async(self._admit)(info)
        return await next_(source, info, **kwargs)

    def _admit(self, info: Info) -> None:
        request = _part(info, "request")
        try:
            access = _access(request)
            if access is None:
                raise Refused(_missing(request))
            acceptance.check(access, self.accepts)
            if not access.allows(*self.scopes):
                raise Refused(refusals.INSUFFICIENT_SCOPE)
            if isinstance(request, HttpRequest):
                spend(access, request)
        except Exception as error:  # noqa: BLE001
            refused = http.refusal_of(error)
        else:
            if isinstance(request, HttpRequest):
                request.auth = access  # type: ignore[attr-defined]
            self._note(access, request)
            _protect(request, info)
            return
        _protect(request, info)
        scope = " ".join(self.scopes)
        # Outside of the handler, because the frames of its error hold the credential.
        raise GraphQLError(
            str(refused.refusal.message).format(scope=scope),
            extensions={"code": refused.refusal.code, "status": refused.refusal.status},
        )

    def _note(self, access: Access, request: Any) -> None:
        """Note the use of the scopes, once per HTTP request, however many fields require them."""
        if isinstance(request, HttpRequest):
            noted = vars(request).setdefault("_apikeys_noted", set())
            if self.scopes in noted:
                return
            noted.add(self.scopes)
        usage.note_scopes(access, self.scopes)


def _part(info: Info, name: str) -> Any:
    context: Any = info.context
    return context.get(name) if isinstance(context, dict) else getattr(context, name, None)


def _access(request: Any) -> Access | None:
    if isinstance(request, HttpRequest):
        return http.identify(request)
    # A consumer of Channels, behind apikeys.channels.BearerMiddleware.
    scope = getattr(request, "scope", None) or getattr(
        getattr(request, "consumer", None), "scope", {}
    )
    access = scope.get("auth")
    return access if isinstance(access, Access) else None


def _missing(request: Any) -> Refusal:
    is_http = isinstance(request, HttpRequest)
    return not_authenticated(request) if is_http else refusals.NOT_AUTHENTICATED


def _protect(request: Any, info: Info) -> None:
    """Add what every response to a credential says to caches, and its rate limit."""
    response = _part(info, "response")
    if isinstance(request, HttpRequest) and response is not None:
        http.finish(request, response)
