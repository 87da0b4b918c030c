from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from pydantic import Field, PrivateAttr

from .denials import Denied
from .sources import Introspection, Keys, Source

#: The ASGI scope of the current request, which says where it came from.
current_scope: ContextVar[Mapping[str, Any] | None] = ContextVar("apikeys_mcp", default=None)

_LONGEST: Final = 10_000


class VerifiedToken(AccessToken):
    """A verified credential as the SDK's ``AccessToken``.

    ``scopes`` include implied ones. ``resource`` is the MCP server's, unless the token is for
    the whole site. ``claims`` have the ``kind``, ``username`` and ``project``, if known.
    """

    token: str = Field(repr=False)
    _access: Any = PrivateAttr(default=None)
    _verifier: Any = PrivateAttr(default=None)

    @property
    def access(self) -> Any:
        """The ``apikeys.access.Access``; ``None`` outside the process of the site."""
        return self._access

    @property
    def verified_by(self) -> "TokenVerifier | None":
        """The verifier that returned this object."""
        return self._verifier  # type: ignore[no-any-return]


_verified: ContextVar[VerifiedToken | None] = ContextVar("apikeys_mcp_verified", default=None)


class TokenVerifier:
    """Verify OAuth tokens, personal access tokens and project keys for an MCP server.

    ``resource`` is the URL of the MCP server. Without an ``issuer``, it runs in the process of
    the Django site. Otherwise ``issuer`` is the site's authorization server, such as
    ``https://api.example.com/o``. With the ID and secret of a confidential client, each
    credential is introspected there. Without them, only access tokens that are JWTs are
    accepted, and a revoked one keeps working until it expires.
    """

    def __init__(
        self,
        resource: str,
        *,
        issuer: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
    ) -> None:
        self.resource = resource
        self._source: Source
        if issuer is None:
            from .site import Site

            self._source = Site(resource)
        elif client_id is not None and client_secret is not None:
            self._source = Introspection(resource, issuer, client_id, client_secret)
        else:
            self._source = Keys(resource, issuer)

    def __repr__(self) -> str:
        return f"<TokenVerifier of {self.resource} with {type(self._source).__name__}>"

    @contextmanager
    def remembering(self, token: "VerifiedToken") -> Iterator[None]:
        """Let the SDK verify ``token`` in this context without another check."""
        here = _verified.set(token)
        try:
            yield
        finally:
            _verified.reset(here)

    async def verify_token(self, token: str) -> VerifiedToken | None:
        """Return the verified credential, or ``None`` if it is refused. The SDK calls this."""
        known = _verified.get()
        if known is not None and known.token == token and known.verified_by is self:
            return known
        try:
            return await self.verify(token)
        except Denied:
            return None

    async def verify(self, token: str) -> VerifiedToken:
        """Return the verified credential. Raise ``Denied``."""
        if not token.isascii() or len(token) > _LONGEST:
            raise Denied("invalid_token")
        facts = await self._source.verify(token, current_scope.get() or {})
        verified = VerifiedToken(
            token=token,
            client_id=facts.client_id,
            scopes=sorted(facts.scopes),
            expires_at=facts.expires_at,
            resource=self.resource if facts.is_for_resource else None,
            subject=facts.subject,
            claims=facts.claims,
        )
        verified._access, verified._verifier = facts.access, self
        return verified


def current_token() -> VerifiedToken:
    """Return the caller's credential in a tool. Raise ``Denied`` without one."""
    token = get_access_token()
    if not isinstance(token, VerifiedToken):
        raise Denied("not_authenticated", error=None)
    return token


def current_access() -> Any:
    """Return the caller's ``Access`` in a tool, in the process of the site.

    Raise ``Denied`` without a credential.
    """
    access = current_token().access
    if access is None:
        raise Denied("not_authenticated", error=None)
    return access
