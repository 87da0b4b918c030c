"""A reverse proxy in Python, for small sites that have no other: an ASGI application.

It decides like the forward-auth endpoint, then passes the request on byte by byte, streaming
both ways. ``apikeys.gateway.asgi`` has it for a server. Needs the extra ``gateway``.
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
from ..conf import app_settings
from ..drf import refuse
from ..drf.authentication import forget
from ..drf.exceptions import RefusedException
from ..legacy import schemes
from ..refusals import Refused
from ..signatures import Message as SignedMessage
from ..signatures import prove
from .decide import adecide, identity, in_thread, refusal_headers
from .original import Original, absolute

__all__ = ["ReverseProxy"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

# RFC 9110 section 7.6.1, and what older agents take for such.
_HOP_BY_HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"),
        *(b"transfer-encoding", b"proxy-authenticate", b"proxy-authorization", b"expect"),
    }
)
# What this proxy says itself, and what some servers obey in place of the method or the path.
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


class _ClientGone(Exception):  # noqa: N818 - no error of ours
    pass


class ReverseProxy:
    """Passes on what may pass, to ``APIKEYS["GATEWAY_UPSTREAM"]``."""

    def __init__(self) -> None:
        if not app_settings.GATEWAY_UPSTREAM:
            raise ImproperlyConfigured("APIKEYS['GATEWAY_UPSTREAM'] has to name the upstream.")
        self._upstream = httpx.URL(app_settings.GATEWAY_UPSTREAM)
        self._transport: httpx.AsyncHTTPTransport | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # RFC 6455 has no place for a decision at every message
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._transport is not None:
            await self._transport.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    def _connections(self) -> httpx.AsyncHTTPTransport:
        # Not a client: that one keeps cookies, and would give them to the next caller.
        if self._transport is None:
            most = app_settings.GATEWAY_MAX_CONNECTIONS
            limits = httpx.Limits(max_connections=most, max_keepalive_connections=most)
            self._transport = httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
        return self._transport

    @sensitive_variables()
    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope, "headers": tuple(scope["headers"])}  # no trailer comes in after the check
        body = _Body(receive)
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            length = _check(scope)
            body.length = length
            access = await _decide(scope, body)
            await self._forward(scope, body, access, answer)
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
            forget(error)
            raise
        else:
            return
        if started:  # too late to say so: cut it off, so that nobody takes it for whole
            raise ConnectionAbortedError("The upstream broke off its answer.")
        await _refuse(exception, send)

    async def _forward(self, scope: Scope, body: "_Body", access: Access, send: Send) -> None:
        seconds = app_settings.GATEWAY_TIMEOUT
        first = await body.first()
        streams = body.length is not None or bool(first) or body.more
        request = httpx.Request(
            scope["method"],
            self._upstream,
            headers=_request_headers(scope, access, self._upstream, body.length),
            content=body.stream(first) if streams else None,
            extensions={
                "target": _target(scope).encode("latin-1"),
                "timeout": dict.fromkeys(("connect", "read", "write", "pool"), seconds),
            },
        )
        exchange = asyncio.ensure_future(self._exchange(request, send))
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

    async def _exchange(self, request: httpx.Request, send: Send) -> None:
        response = await self._connections().handle_async_request(request)
        try:
            headers = _without_hops(response.headers.raw)
            await send(
                {
                    "type": "http.response.start",
                    "status": response.status_code,
                    "headers": [(name.lower(), value) for name, value in headers],
                }
            )
            stream: Any = response.stream
            async for chunk in stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await response.aclose()


class _Body:
    """The request's body, as it comes, within the limits."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read = 0
        self._finished = asyncio.Event()
        self._kept: bytes | None = None
        self.length: int | None = None
        self.more = True

    async def _next(self) -> bytes:
        try:
            message = await asyncio.wait_for(self._receive(), app_settings.GATEWAY_TIMEOUT)
        except TimeoutError:
            raise refuse(refusals.REQUEST_TIMEOUT) from None
        if message["type"] != "http.request":
            raise _ClientGone
        part: bytes = message.get("body", b"")
        self.more = message.get("more_body", False)
        self._read += len(part)
        if self._read > app_settings.GATEWAY_MAX_BODY:
            raise refuse(refusals.REQUEST_TOO_LARGE)
        if not self.more:
            self._finished.set()
        return part

    async def first(self) -> bytes:
        """What comes at once: without a body, that is nothing and the end."""
        if self._kept is not None:
            return self._kept
        if self.length is not None and self.length > app_settings.GATEWAY_MAX_BODY:
            raise refuse(refusals.REQUEST_TOO_LARGE)
        return await self._next()

    async def whole(self) -> bytes:
        """All of it, to be passed on later."""
        parts = [await self.first()]
        while self.more:
            parts.append(await self._next())
        self._kept = b"".join(parts)
        return self._kept

    async def stream(self, first: bytes) -> AsyncIterator[bytes]:
        if first:
            yield first
        while self.more:
            if part := await self._next():
                yield part

    async def until_gone(self) -> None:
        await self._finished.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _check(scope: Scope) -> int | None:
    """The length of the body, if it says one. Refuses what two servers read as two requests."""
    named: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        if not _VALUE.fullmatch(value):
            raise refuse(refusals.MALFORMED_REQUEST)
        named.setdefault(name.lower(), []).append(value.strip(b" \t"))
    if any(len(named.get(name, ())) > 1 for name in {*_ONCE, *_key_headers()}):
        raise refuse(refusals.MALFORMED_REQUEST)
    if b"signature-input" in named and _nominated(scope["headers"]) - _HOP_BY_HOP - {b"close"}:
        raise refuse(refusals.MALFORMED_REQUEST)  # what was signed would not get there
    lengths, encodings = named.get(b"content-length"), named.get(b"transfer-encoding")
    if encodings and (lengths or encodings[0].lower() != b"chunked"):
        raise refuse(refusals.MALFORMED_REQUEST)
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise refuse(refusals.MALFORMED_REQUEST)
    return int(lengths[0]) if lengths else None


def _target(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or b""
    query: bytes = scope.get("query_string") or b""
    # Some servers leave the query in.
    path = raw.partition(b"?")[0]
    return (path + (b"?" + query if query else b"")).decode("latin-1")


def _key_headers() -> set[bytes]:
    """What may hold a key beside ``Authorization``: for this proxy, and not for the upstream."""
    return {name.lower().encode() for name in schemes.headers()}


@sensitive_variables()
async def _decide(scope: Scope, body: _Body) -> Access:
    headers = _headers(scope)
    authorization = headers.get("Authorization", "")
    client = scope.get("client")
    signed = None
    if "Signature-Input" in headers and not authorization:
        signed = await _signed(scope, headers, body)
    original = Original(
        method=scope["method"],
        target=_target(scope),
        authorization=authorization,
        remote_addr=client[0] if client else None,
        signed=signed,
        keys={name: headers[name] for name in schemes.headers() if name in headers},
    )
    return await adecide(original)


async def _signed(scope: Scope, headers: Mapping[str, str], body: _Body) -> SignedMessage:
    """With its body, which is read and kept only of who has signed the rest."""
    whole = b""
    signed = SignedMessage(scope["method"], absolute(_target(scope)), headers, lambda: whole)
    try:
        await in_thread(prove, signed)
    except Refused as refused:
        raise refuse(refused.refusal) from None
    whole = await body.whole()
    return signed


def _headers(scope: Scope) -> Mapping[str, str]:
    """By name, in any letter case; what comes more than once is joined (RFC 9110 section 5.2)."""
    joined: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return CaseInsensitiveMapping(joined)


def _nominated(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """What ``Connection`` says ends at this hop."""
    values = [value for name, value in headers if name.lower() == b"connection"]
    return {each.strip().lower() for value in values for each in value.split(b",")} - {b""}


def _without_hops(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    headers = list(headers)
    dropped = _HOP_BY_HOP | _nominated(headers)
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def _request_headers(
    scope: Scope, access: Access, upstream: httpx.URL, length: int | None
) -> Headers:
    passed = [
        (name, value)
        for name, value in _without_hops(scope["headers"])
        if name.lower() not in _OWN
        and name.lower() not in _key_headers()
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


async def _refuse(refused: RefusedException, send: Send) -> None:
    facts: Any = refused.detail
    body = json.dumps(facts, separators=(",", ":"), ensure_ascii=False).encode()
    headers = refusal_headers(refused) | {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    pairs = [(n.lower().encode(), v.encode("latin-1", "replace")) for n, v in headers.items()]
    await send({"type": "http.response.start", "status": refused.status_code, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
