import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST

from .denials import Denied, metadata_path
from .verifier import TokenVerifier, VerifiedToken, current_scope, current_token

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
F = TypeVar("F", bound=Callable[..., Any])

#: The methods that need a credential, but no scope. ``_check`` looks at those of tools.
_WITHOUT_SCOPE: Final = frozenset((
    "initialize", "logging/setLevel", "ping", "server/discover", "subscriptions/listen",
))  # fmt: skip
#: The methods that list what ``others`` protects, with the names of the list in the result.
_LISTS: Final = {
    "prompts/list": ("prompts", "prompts"),
    "resources/list": ("resources", "resources"),
    "resources/templates/list": ("resourceTemplates", "resource_templates"),
}
_MOST: Final = 4 * 1024 * 1024  # bytes of a request's body, like the SDK's limit


class ToolScopes:
    """Require scopes for the tools of an ``MCPServer``.

    ``tools/list`` shows a caller only the tools that it can use. A call of another tool gets 403
    ``insufficient_scope``, so that the client asks its user for more. A tool without scopes is
    refused to everyone.

    Everything else that the server offers, such as resources and prompts, requires the scopes
    in ``others``. Without any, it is refused to everyone.
    """

    def __init__(
        self, server: MCPServer, verifier: TokenVerifier, *, others: Iterable[str] = ()
    ) -> None:
        self._server = server
        self._verifier = verifier
        self._others = frozenset(others)
        self._scopes: dict[str, frozenset[str]] = {}
        server.middleware.append(self._check)

    def tool(self, *scopes: str, **options: Any) -> Callable[[F], F]:
        """Register a function as a tool that requires ``scopes``.

        ``options`` are passed to ``MCPServer.tool``. Raise ``TypeError`` without a scope.
        """
        if not scopes or not all(isinstance(scope, str) for scope in scopes):
            raise TypeError("tool() needs at least one scope, as a string.")

        def register(function: F) -> F:
            self._scopes[str(options.get("name") or function.__name__)] = frozenset(scopes)
            return self._server.tool(**options)(function)

        return register

    @property
    def first_scopes(self) -> list[str]:
        """The scopes that a client without a token should request. They only read."""
        names = self._names()
        return [name for name in names if name.endswith(":read")] or names

    def _names(self) -> list[str]:
        return sorted(self._others.union(*self._scopes.values()))

    def app(self, **options: Any) -> App:
        """Return the server as an ASGI application (streamable HTTP) that checks credentials.

        Its path is that of the verifier's ``resource``. ``options`` are those of
        ``MCPServer.streamable_http_app``.
        """
        parts = urlsplit(self._verifier.resource)
        path = parts.path or "/"
        # The SDK allows any host unless this is a loopback address.
        options.setdefault("host", parts.hostname or "")
        inner: Any = self._server.streamable_http_app(streamable_http_path=path, **options)
        return _Guard(inner, path, self, self._verifier)

    def description(self) -> dict[str, Any]:
        """Return the description of the server as a resource (RFC 9728)."""
        auth = self._server.settings.auth
        return {
            "resource": self._verifier.resource,
            "resource_name": self._server.title or self._server.name,
            "authorization_servers": [str(auth.issuer_url)] if auth else [],
            "scopes_supported": self._names(),
            "bearer_methods_supported": ["header"],
        }

    def beside(self, application: App, **options: Any) -> App:
        """Return an ASGI application that serves this server and ``application``, such as Django.

        ``application`` gets every request except those for the path of the MCP server and for
        its description (RFC 9728).
        """
        own, resource = self.app(**options), self._verifier.resource
        paths = {urlsplit(resource).path.rstrip("/"), metadata_path(resource).rstrip("/")}

        async def both(scope: Scope, receive: Receive, send: Send) -> None:
            # The session manager of the SDK starts and stops with the server; Django has no part.
            is_own = scope["type"] == "lifespan" or (
                scope["type"] == "http" and scope["path"].rstrip("/") in paths
            )
            await (own if is_own else application)(scope, receive, send)

        return both

    def required(self, method: Any, params: Any) -> frozenset[str] | None:
        """Return the scopes that a request needs; ``None`` if every caller is refused."""
        if not isinstance(method, str):
            return None
        if method == "tools/call":
            name = params.get("name") if isinstance(params, Mapping) else None
            return self._scopes.get(name) if isinstance(name, str) else None
        if method in _WITHOUT_SCOPE or method == "tools/list" or _is_notification(method):
            return frozenset()
        return self._others or None

    async def _check(self, ctx: Any, call_next: Any) -> Any:
        """Filter lists, and refuse a request that ``_Guard`` did not see."""
        if ctx.method in _WITHOUT_SCOPE or _is_notification(ctx.method):
            return await call_next(ctx)
        try:
            token = current_token()
        except Denied as denied:
            raise MCPError(INVALID_REQUEST, denied.detail) from None
        if ctx.method == "tools/list":
            return self._usable(await call_next(ctx), token)
        required = self.required(ctx.method, ctx.params)
        is_allowed = _has(token, required)
        if ctx.method in _LISTS and not is_allowed:
            return _without(await call_next(ctx), *_LISTS[ctx.method])
        if not is_allowed:
            what = "tool" if ctx.method == "tools/call" else "method"
            raise MCPError(INVALID_REQUEST, f"Your credential cannot use this {what}.")
        if required and token.access is not None:  # in the process of the site
            from ..usage import anote_scopes

            await anote_scopes(token.access, required)
        return await call_next(ctx)

    def _usable(self, result: Any, token: VerifiedToken) -> Any:
        """Return the list of tools that the caller can use."""
        if isinstance(result, dict):
            tools = result.get("tools", [])
            return result | {"tools": [t for t in tools if self._shows(t["name"], token)]}
        shown = [tool for tool in result.tools if self._shows(tool.name, token)]
        return result.model_copy(update={"tools": shown})

    def _shows(self, name: str, token: VerifiedToken) -> bool:
        return _has(token, self._scopes.get(name))


def _is_notification(method: Any) -> bool:
    return isinstance(method, str) and method.startswith("notifications/")


def _has(token: VerifiedToken, required: frozenset[str] | None) -> bool:
    return required is not None and required.issubset(token.scopes)


def _without(result: Any, key: str, attribute: str) -> Any:
    """Return the result of a method that lists something, with an empty list."""
    if isinstance(result, dict):
        return result | {key: []}
    return result.model_copy(update={attribute: []})


class _Guard:
    """Answer requests without a sufficient credential as HTTP says, before the SDK sees them."""

    def __init__(self, app: App, path: str, tools: ToolScopes, verifier: TokenVerifier) -> None:
        self._app = app
        self._path = path.rstrip("/")
        self._tools = tools
        self._verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].rstrip("/")
        if path == metadata_path(self._verifier.resource).rstrip("/"):
            headers = {"access-control-allow-origin": "*"}
            await _send(send, 200, self._tools.description(), headers)
            return
        if path != self._path:
            await self._app(scope, receive, send)
            return
        here = current_scope.set(scope)
        try:
            token = await self._verifier.verify(_credential(scope))
            if scope["method"] == "POST":
                body, receive = await _read(receive)
                self._check_calls(body, token)
        except Denied as denied:
            await self._refuse(denied, send)
            return
        finally:
            current_scope.reset(here)
        with self._verifier.remembering(token):
            await self._app(scope, receive, send)

    def _check_calls(self, body: bytes, token: VerifiedToken) -> None:
        """Raise ``Denied`` for a request that needs scopes that ``token`` lacks."""
        for message in _messages(body):
            method = message.get("method")
            required = self._tools.required(method, message.get("params"))
            # A list is shown without what the caller cannot use.
            if required and method not in _LISTS and not _has(token, required):
                raise Denied.step_up(required, token.scopes)

    async def _refuse(self, denied: Denied, send: Send) -> None:
        headers = {
            "cache-control": "no-store",
            **{name.lower(): value for name, value in denied.headers.items()},
        }
        challenge = denied.challenge(self._verifier.resource, self._tools.first_scopes)
        if challenge is not None:
            headers["www-authenticate"] = challenge
        await _send(send, denied.status, denied.body(), headers)


async def _send(send: Send, status: int, data: Any, headers: Mapping[str, str]) -> None:
    body = json.dumps(data).encode()
    own = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in own.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _credential(scope: Scope) -> str:
    """Return the one bearer credential of a request (RFC 6750). Raise ``Denied``."""
    values = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
    if not values:
        raise Denied("not_authenticated", error=None)
    scheme, _, text = values[0].decode("latin-1").strip(" \t").partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not text.strip(" "):
        raise Denied("not_authenticated", error=None)
    return str(text.strip(" "))


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """Read the body, and return it with a function that receives it again."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > _MOST:
            detail = f"The request is larger than {_MOST // 1024 // 1024} MB."
            raise Denied("request_too_large", detail, status=413, error=None)
    body = b"".join(parts)
    is_sent = False

    async def again() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return body, again


def _messages(body: bytes) -> Iterable[dict[str, Any]]:
    try:
        data = json.loads(body)
    except ValueError:
        return []  # the SDK says what is wrong
    except RecursionError:
        detail = "The body is nested too deeply."
        raise Denied("invalid_request", detail, status=400, error=None) from None
    return [each for each in (data if isinstance(data, list) else [data]) if isinstance(each, dict)]
