"""A reverse proxy as an ASGI application, for small sites without another proxy.

It decides like the forward-auth endpoint, then streams the request to the upstream and the
response back, byte by byte. Serve it with ``apikeys.gateway.asgi``. Needs the extra ``gateway``.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Final

import httpx
from django.core.exceptions import ImproperlyConfigured
from django.utils.datastructures import CaseInsensitiveMapping
from django.views.decorators.debug import sensitive_variables

from .. import refusals
from ..access import Access
from ..drf import refuse
from ..drf.exceptions import RefusedException
from ..http import shared_caches
from ..http.hidden import empty_frames
from ..legacy import schemes
from ..refusals import Refused
from ..signatures import prove
from ..signatures.messages import Message as SignedMessage
from . import cors, description
from .conf import gateway_settings
from .decide import Decision, adecide, arefusal_headers, identity, in_thread
from .original import Original, absolute

__all__ = ["ReverseProxy"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

# Hop-by-hop headers (RFC 9110 section 7.6.1), including old ones.
_HOP_BY_HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"),
        *(b"transfer-encoding", b"proxy-authenticate", b"proxy-authorization", b"expect"),
    }
)
# Headers that this proxy sets itself, or that make some servers override method or path.
_OWN: Final = frozenset(
    {
        *(b"host", b"authorization", b"content-length", b"forwarded", b"x-real-ip"),
        *(b"x-http-method", b"x-http-method-override", b"x-method-override", b"x-rewrite-url"),
    }
)
_OWN_PREFIXES: Final = (b"x-auth-", b"x-forwarded-", b"x-original-")
_ONCE: Final = (b"host", b"content-length", b"transfer-encoding", b"authorization")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_NAME: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^`|~-]+")  # a token without the underscore
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class _ClientGone(Exception):  # noqa: N818 - not an error of this program
    pass


class ReverseProxy:
    """Forward allowed requests to ``APIKEYS["GATEWAY_UPSTREAM"]``.

    Raises ``ImproperlyConfigured`` without that setting.
    """

    def __init__(self) -> None:
        if not gateway_settings.GATEWAY_UPSTREAM:
            raise ImproperlyConfigured("Set APIKEYS['GATEWAY_UPSTREAM'] to the upstream's URL.")
        self._upstream = httpx.URL(gateway_settings.GATEWAY_UPSTREAM)
        self._transport: httpx.AsyncHTTPTransport | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # a WebSocket (RFC 6455) is not checked again at each message, so refuse it
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._transport is not None:
            await self._transport.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    def _connections(self) -> httpx.AsyncHTTPTransport:
        # Use a transport: an httpx client would send the cookies of one caller to the next.
        if self._transport is None:
            most = gateway_settings.GATEWAY_MAX_CONNECTIONS
            limits = httpx.Limits(max_connections=most, max_keepalive_connections=most)
            self._transport = httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
        return self._transport

    @sensitive_variables()
    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Copy the headers, so that the server cannot add trailers after the check.
        scope = {**scope, "headers": tuple(scope["headers"])}
        body = _Body(receive)
        started = False
        readable: dict[str, str] = {}

        async def answer(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            length = _check(scope)
            if await description.send(scope, send):
                return
            body.length = length
            original = await _original(scope, body)
            readable = await cors.afields(original)
            if cors.is_preflight(original, headers := _headers(scope)):
                await _respond(204, await cors.apreflight(original, headers), b"", answer)
                return
            decided = await adecide(original)
            decision = decided._replace(fields={**decided.fields, **readable})
            await self._forward(scope, body, decision, answer)
        except _ClientGone:
            return
        except RefusedException as refused:
            exception = refused
        except httpx.PoolTimeout:
            exception = refuse(refusals.UPSTREAM_BUSY)
        except httpx.TimeoutException:
            exception = refuse(refusals.UPSTREAM_TIMEOUT)
        except httpx.TransportError:
            exception = refuse(refusals.UPSTREAM_UNAVAILABLE)
        except BaseException as error:
            empty_frames(error)
            raise
        else:
            return
        if started:  # too late for a refusal: abort, so that the caller sees the response is cut
            raise ConnectionAbortedError("The upstream closed the connection during its response.")
        await _refuse(exception, scope, readable, send)

    async def _forward(self, scope: Scope, body: "_Body", decision: Decision, send: Send) -> None:
        seconds = gateway_settings.GATEWAY_TIMEOUT
        first = await body.first()
        streams = body.length is not None or bool(first) or body.more
        request = httpx.Request(
            scope["method"],
            self._upstream,
            headers=_request_headers(scope, decision.access, self._upstream, body.length),
            content=body.stream(first) if streams else None,
            extensions={
                "target": _target(scope).encode("latin-1"),
                "timeout": dict.fromkeys(("connect", "read", "write", "pool"), seconds),
            },
        )
        exchange = asyncio.ensure_future(self._exchange(request, decision, send))
        gone = asyncio.ensure_future(body.until_gone())
        try:
            await asyncio.wait({exchange, gone}, return_when=asyncio.FIRST_COMPLETED)
            if exchange.done():
                await exchange
        finally:
            for task in (exchange, gone):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    async def _exchange(self, request: httpx.Request, decision: Decision, send: Send) -> None:
        response = await self._connections().handle_async_request(request)
        try:
            headers = _answer_headers(response.headers.raw, decision)
            await send(
                {
                    "type": "http.response.start",
                    "status": response.status_code,
                    "headers": headers,
                }
            )
            stream: Any = response.stream
            async for chunk in stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await response.aclose()


class _Body:
    """Read the request's body in parts, and enforce the limits on size and time."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read = 0
        self._finished = asyncio.Event()
        self._kept: bytes | None = None
        self.length: int | None = None
        self.more = True

    async def _next(self) -> bytes:
        try:
            message = await asyncio.wait_for(self._receive(), gateway_settings.GATEWAY_TIMEOUT)
        except TimeoutError:
            raise refuse(refusals.REQUEST_TIMEOUT) from None
        if message["type"] != "http.request":
            raise _ClientGone
        part: bytes = message.get("body", b"")
        self.more = message.get("more_body", False)
        self._read += len(part)
        if self._read > gateway_settings.GATEWAY_MAX_BODY:
            raise refuse(refusals.REQUEST_TOO_LARGE)
        if not self.more:
            self._finished.set()
        return part

    async def first(self) -> bytes:
        """Return the first part; empty without a body."""
        if self._kept is not None:
            return self._kept
        if self.length is not None and self.length > gateway_settings.GATEWAY_MAX_BODY:
            raise refuse(refusals.REQUEST_TOO_LARGE)
        return await self._next()

    async def whole(self) -> bytes:
        """Read and keep the whole body; ``first`` then returns it."""
        parts = [await self.first()]
        while self.more:
            parts.append(await self._next())
        self._kept = b"".join(parts)
        return self._kept

    async def stream(self, first: bytes) -> AsyncIterator[bytes]:
        """Yield ``first`` and all further parts."""
        if first:
            yield first
        while self.more:
            if part := await self._next():
                yield part

    async def until_gone(self) -> None:
        """Wait until the client disconnects."""
        await self._finished.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _check(scope: Scope) -> int | None:
    """Return the declared length of the body, or ``None``.

    Refuse requests that servers could split in different ways (request smuggling).
    """
    named: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        if not _VALUE.fullmatch(value):
            raise refuse(refusals.MALFORMED_REQUEST)
        named.setdefault(name.lower(), []).append(value.strip(b" \t"))
    if any(len(named.get(name, ())) > 1 for name in {*_ONCE, *_key_headers()}):
        raise refuse(refusals.MALFORMED_REQUEST)
    if b"signature-input" in named and _nominated(scope["headers"]) - _HOP_BY_HOP - {b"close"}:
        raise refuse(refusals.MALFORMED_REQUEST)  # the proxy would drop a header that was signed
    lengths, encodings = named.get(b"content-length"), named.get(b"transfer-encoding")
    if encodings and (lengths or encodings[0].lower() != b"chunked"):
        raise refuse(refusals.MALFORMED_REQUEST)
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise refuse(refusals.MALFORMED_REQUEST)
    return int(lengths[0]) if lengths else None


def _target(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or b""
    query: bytes = scope.get("query_string") or b""
    # Some servers include the query in raw_path.
    path = raw.partition(b"?")[0]
    return (path + (b"?" + query if query else b"")).decode("latin-1")


def _key_headers() -> set[bytes]:
    """Return the other headers that may contain a key. The upstream does not get them."""
    return {name.lower().encode() for name in schemes.headers()}


@sensitive_variables()
async def _original(scope: Scope, body: _Body) -> Original:
    headers = _headers(scope)
    authorization = headers.get("Authorization", "")
    client = scope.get("client")
    signed = None
    if "Signature-Input" in headers and not authorization:
        signed = await _signed(scope, headers, body)
    return Original(
        method=scope["method"],
        target=_target(scope),
        authorization=authorization,
        remote_addr=client[0] if client else None,
        signed=signed,
        keys={name: headers[name] for name in schemes.headers() if name in headers},
        origin=headers.get("Origin", ""),
    )


async def _signed(scope: Scope, headers: Mapping[str, str], body: _Body) -> SignedMessage:
    """Return the signed message with its body. Read the body only if the signature is valid."""
    whole = b""
    signed = SignedMessage(scope["method"], absolute(_target(scope)), headers, lambda: whole)
    try:
        await in_thread(prove, signed)
    except Refused as refused:
        raise refuse(refused.refusal) from None
    whole = await body.whole()
    return signed


def _headers(scope: Scope) -> Mapping[str, str]:
    """Return a case-insensitive mapping. Join repeated headers (RFC 9110 section 5.2)."""
    named: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        named.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return CaseInsensitiveMapping({name: ", ".join(values) for name, values in named.items()})


def _nominated(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """Return the headers that ``Connection`` lists as hop-by-hop."""
    values = [value for name, value in headers if name.lower() == b"connection"]
    return {each.strip().lower() for value in values for each in value.split(b",")} - {b""}


def _without_hops(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    headers = list(headers)
    dropped = _HOP_BY_HOP | _nominated(headers)
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def _request_headers(
    scope: Scope, access: Access, upstream: httpx.URL, length: int | None
) -> Headers:
    dropped = _OWN | _key_headers()
    passed = [
        (name, value)
        for name, value in _without_hops(scope["headers"])
        if name.lower() not in dropped
        and not name.lower().startswith(_OWN_PREFIXES)
        and _NAME.fullmatch(name)
    ]
    own: Mapping[str, str] = {
        "Host": upstream.netloc.decode("ascii"),
        **{name: value for name, value in identity(access).items() if value},
        **({"Content-Length": str(length)} if length is not None else {}),
    }
    if client := scope.get("client"):
        own = {**own, "X-Forwarded-For": client[0]}
    return [*passed, *((name.encode(), value.encode("ascii")) for name, value in own.items())]


def _answer_headers(raw: Iterable[tuple[bytes, bytes]], decision: Decision) -> Headers:
    """Return the upstream's headers, marked as private.

    The upstream sees no credential, so it may have allowed shared caches to store the response.
    """
    headers = [(name.lower(), value) for name, value in _without_hops(raw)]
    given = b", ".join(value for name, value in headers if name == b"cache-control")
    own = {name.lower().encode() for name in decision.fields} - {b"vary"}
    return [
        *(pair for pair in headers if pair[0] not in own and not _is_cache_control(pair[0])),
        (b"cache-control", shared_caches.private(given.decode("latin-1")).encode("latin-1")),
        (b"vary", _vary()),
        *((name.lower().encode(), value.encode()) for name, value in decision.fields.items()),
    ]


def _is_cache_control(name: bytes) -> bool:
    return name == b"cache-control" or shared_caches.is_for_shared_caches(name.decode("latin-1"))


def _vary() -> bytes:
    return ", ".join(shared_caches.credential_headers()).encode()


async def _refuse(
    refused: RefusedException, scope: Scope, readable: Mapping[str, str], send: Send
) -> None:
    facts: Any = refused.detail
    body = json.dumps(facts, separators=(",", ":"), ensure_ascii=False).encode()
    own = await arefusal_headers(refused, description.asked(scope), scope["method"], _target(scope))
    headers = own | {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **readable,
        "Vary": ", ".join([_vary().decode(), *(["Origin"] if readable else [])]),
    }
    await _respond(refused.status_code, headers, body, send)


async def _respond(status: int, headers: Mapping[str, str], body: bytes, send: Send) -> None:
    pairs = [(n.lower().encode(), v.encode("latin-1", "replace")) for n, v in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
