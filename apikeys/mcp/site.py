"""Verify credentials in the process of the Django site, like its own views."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from .. import acceptance, scopes
from ..access import EXTERNAL, OAUTH, Access
from ..conf import slug_of
from ..databases.threads import connected
from ..http import refusal_of
from ..limits.counting import aspend
from ..refusals import Refused
from ..verify import recall, verify
from .denials import Denied
from .sources import Facts, is_for


class _Addressed:
    """Mix in the URL of the MCP server, to compare with a token's audience (RFC 8707)."""

    resource: str

    def build_absolute_uri(self, location: str | None = None) -> str:
        return self.resource


class _Request(_Addressed, ASGIRequest):
    pass


class _Unaddressed(_Addressed, HttpRequest):
    pass


# No handler of Django closes the connections of these threads. Each call has its own: one that
# waits for the keys of an issuer must not delay the others.
_in_thread = sync_to_async(connected, thread_sensitive=False)


class Site:
    """Verify a credential, count it towards its rate limits, and note its use."""

    def __init__(self, resource: str) -> None:
        self._resource = resource

    @sensitive_variables()
    async def verify(self, token: str, scope: Mapping[str, Any]) -> Facts:
        try:
            request = self._request(scope)
            access = recall(token, request)
            if access is None:
                access = await _in_thread(verify, token, request)
            acceptance.check(access)
            await aspend(access, request)
        except Exception as error:  # noqa: BLE001 - others than refusals are raised again
            denied = _denied(refusal_of(error))
        else:
            return _facts(access, self._resource)
        raise denied

    def _request(self, scope: Mapping[str, Any]) -> Any:
        own = {**scope, "query_string": b""}
        request: Any = _Request(own, BytesIO()) if scope else _Unaddressed()
        request.resource = self._resource
        return request


def _denied(refused: Refused) -> Denied:
    refusal = refused.refusal
    headers = dict(refused.headers)
    if refused.retry_after is not None:
        headers["Retry-After"] = str(refused.retry_after)
    return Denied(
        refusal.code,
        str(refusal.message),
        status=refusal.status,
        error=refusal.error,
        headers=headers,
    )


def _is_for(access: Access, resource: str) -> bool:
    """Return whether the MCP server was named as the audience. Every key is for it."""
    if access.kind == OAUTH:
        return access.is_for_some_resources
    if access.kind != EXTERNAL:
        return True
    named = (access.external_claims or {}).get("aud")
    audiences = [named] if isinstance(named, str) else named or ()
    return any(is_for(resource, str(each)) for each in audiences)


def _facts(access: Access, resource: str) -> Facts:
    client_id = access.credential_id if access.client is None else access.client.client_id
    subject, claims = client_id, {"kind": access.kind}
    if access.user is not None:
        subject = str(access.user.pk)
        claims["username"] = access.user.get_username()
    elif access.project is not None:
        subject = f"project:{slug_of(access.project)}"
        claims["project"] = slug_of(access.project)
    return Facts(
        client_id=client_id,
        scopes=scopes.expand(access.scope),
        subject=subject,
        expires_at=int(access.expires_at.timestamp()) if access.expires_at else None,
        is_for_resource=_is_for(access, resource),
        claims=claims,
        access=access,
    )
