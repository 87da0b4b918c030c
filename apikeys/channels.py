"""Accept keys and OAuth tokens in websockets: Django Channels, or any other ASGI application."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from io import BytesIO
from typing import Any, Final, NamedTuple

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from . import acceptance, decisions, http, refusals, restrictions, usage
from .access import EXTERNAL, OAUTH, PERSONAL_ACCESS_TOKEN, Access
from .conf import app_settings
from .databases.threads import connected
from .http.header import not_authenticated, read_credential
from .legacy import live, options, schemes
from .limits import networks
from .limits.counting import spend
from .models import LegacyKey
from .policy import get_policy
from .refusals import Refusal, Refused
from .restrictions import EMPTY
from .restrictions.base import Circumstances, Phase
from .token import KEY, PAT
from .verify import recheck, verify

__all__ = ["BearerMiddleware"]

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_SCHEMES: Final = {"ws": "http", "wss": "https"}
_TO_FINISH: Final = 10  # seconds in which an application finishes after the end of its credential
#: Close codes of RFC 6455: 4000 and above are the application's own.
_OWN_CODES: Final = 4000
_TRY_AGAIN: Final = 1013


class BearerMiddleware:
    """Authenticate websockets by ``Authorization: Bearer``, and close them when it ends.

    ``scope["auth"]`` is the ``Access``, or ``None`` without a credential. An invalid credential
    is refused before the websocket opens. With ``required_scopes``, so is a missing one, or one
    without these scopes, and ``scope["user"]`` is the user or ``ProjectUser``.

    While the websocket is open, the credential is verified again every ``interval`` seconds,
    and when it expires. If it ended, or allows less than ``scope["auth"]``, the websocket is
    closed with the code 4401 or 4403, and the application gets ``websocket.disconnect``.
    """

    def __init__(
        self,
        app: Application,
        *,
        required_scopes: Collection[str] = (),
        accepts: Collection[str] | None = None,
        interval: float = 10,
    ) -> None:
        if isinstance(required_scopes, str):
            raise TypeError("required_scopes must be a list of scopes.")
        acceptance.check_names(accepts)
        self.app = app
        self.required_scopes = tuple(required_scopes)
        self.accepts = accepts
        self.interval = interval

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        request = _request(scope)
        try:
            held = await _in_thread(self._authenticate, request)
        except Exception as error:  # noqa: BLE001
            await _deny(http.refusal_of(error), scope, receive, send)
            return
        scope = {**scope, "auth": held and held.access}
        if held is None:
            await self.app(scope, receive, send)
            return
        if self.required_scopes:
            scope["user"] = held.access.principal
        await self._run(held, request, scope, receive, send)

    def _authenticate(self, request: HttpRequest) -> "_Held | None":
        access = http.authenticate(request)
        if access is not None:
            self._check(access)
            spend(access, request)
            usage.note_scopes(access, self.required_scopes)
            return _Held(access, access.selected_pks(), decisions.denied_to(access))
        if self.required_scopes:
            raise Refused(not_authenticated(request))
        return None

    def _check(self, access: Access) -> None:
        acceptance.check(access, self.accepts)
        if not access.allows(*self.required_scopes):
            raise Refused(refusals.INSUFFICIENT_SCOPE)

    async def _run(
        self, held: "_Held", request: HttpRequest, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Run the application until it returns or the credential ends."""
        ended = asyncio.Event()
        code = _OWN_CODES + 401

        async def receive_until() -> dict[str, Any]:
            tasks = asyncio.ensure_future(receive()), asyncio.ensure_future(ended.wait())
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if ended.is_set():
                    return {"type": "websocket.disconnect", "code": code}
                return tasks[0].result()
            finally:
                for task in tasks:
                    task.cancel()

        async def send_until(message: dict[str, Any]) -> None:
            if not ended.is_set():
                await send(message)

        running = asyncio.ensure_future(self.app(scope, receive_until, send_until))
        watching = asyncio.ensure_future(self._watch(held, request))
        try:
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                # A failure of the watch also ends here: without it, nothing would be checked.
                failed = watching.exception()
                refusal = refusals.TEMPORARILY_UNAVAILABLE if failed else watching.result()
                code = _code(refusal)
                ended.set()
                await send({"type": "websocket.close", "code": code, "reason": refusal.code})
                await asyncio.wait({running}, timeout=_TO_FINISH)
                if failed is not None:
                    raise failed
            if running.done():
                running.result()
        finally:
            running.cancel()
            watching.cancel()

    async def _watch(self, held: "_Held", request: HttpRequest) -> Refusal:
        """Return why the credential ended, as soon as it did."""
        access = held.access
        while True:
            await asyncio.sleep(_pause(access, self.interval))
            try:
                access = await _in_thread(self._again, held, request)
            except Exception as error:  # noqa: BLE001
                return http.refusal_of(error).refusal

    def _again(self, held: "_Held", request: HttpRequest) -> Access:
        before = held.access
        if before.kind in (OAUTH, EXTERNAL) or _is_jwt(request):
            access = _verify_text(request)
        else:
            # Look the key up by its ID: a signature is valid only once, and a check is not a use.
            access = recheck(before.credential_id)
            _check_request(access, request)
            _check_live(access, request)
        if before.expires_at is not None:  # an imported key ends with its old header
            ends = before.expires_at
            access.expires_at = min(access.expires_at or ends, ends)
        if access.is_expired():
            raise Refused(refusals.EXPIRED_KEY)
        self._check(access)
        if not held.is_within(access):
            raise Refused(refusals.INSUFFICIENT_SCOPE)
        return access


class _Held(NamedTuple):
    """The rights that the consumer of a websocket holds. They must not outlast those of its key."""

    access: Access
    #: The selected projects at the handshake.
    projects: list[Any] | None
    #: The projects in which it was denied at the handshake.
    denied: set[Any]

    def is_within(self, now: Access) -> bool:
        """Return whether it allows no more than the credential allows now."""
        projects = now.selected_pks()
        if projects is not None and not (
            self.projects is not None and set(projects).issuperset(self.projects)
        ):
            return False
        if not decisions.denied_to(now) <= self.denied:
            return False
        before = self.access
        return (
            (before.user, before.project, before.principal)
            == (now.user, now.project, now.principal)
            and now.scopes >= before.scopes
            and now.is_for_some_resources <= before.is_for_some_resources
            and restrictions.covers(restrictions.of(now), restrictions.of(before))
        )


@sensitive_variables("text")
def _verify_text(request: HttpRequest) -> Access:
    text = read_credential(request)
    if text is None:
        raise Refused(refusals.NOT_AUTHENTICATED)
    return verify(text, request, counts_as_use=False)


def _is_jwt(request: HttpRequest) -> bool:
    """Return whether the credential is a signed token, which may be a workload's."""
    text = read_credential(request)
    return text is not None and text.startswith("ey") and text.count(".") == 2


def _check_request(access: Access, request: HttpRequest) -> None:
    """Check the restrictions that ``recheck`` leaves out: of this address, and of direct use."""
    ip = networks.client_ip(request)
    imposed = get_policy().allowed_networks(access.project or access.user)
    if imposed and not networks.allowed_from((" ".join(imposed),), ip):
        raise Refused(refusals.IP_NOT_ALLOWED)
    values = restrictions.of(access)
    if values is not EMPTY:
        now = Circumstances(timezone.now(), False, ip, request)
        restrictions.check(Phase.VERIFY, values, now)
        restrictions.check(Phase.REQUEST, values, now)


@sensitive_variables("text", "presented")
def _check_live(access: Access, request: HttpRequest) -> None:
    """Check that the package that an imported key came from still has it (``LIVE``)."""
    if not any(options.live_of(name) for name in app_settings.LEGACY):
        return
    kind = PAT if access.kind == PERSONAL_ACCESS_TOKEN else KEY
    name = "token" if kind == PAT else "key"
    rows = LegacyKey.objects.filter(**{f"{name}__public_id": access.credential_id})
    if (row := rows.values_list("scheme", f"{name}_id").first()) is None:
        return
    if (text := read_credential(request)) is None and (presented := schemes.read(request)):
        text = presented.text
    if text is not None:
        live.check(row[0], text, kind, row[1])


def _pause(access: Access, interval: float) -> float:
    if access.expires_at is None:
        return interval
    left = (access.expires_at - timezone.now()).total_seconds()
    return max(0, min(interval, left))


def _request(scope: Mapping[str, Any]) -> HttpRequest:
    """Return the handshake as a request, with its headers and the address of the client."""
    scheme = _SCHEMES.get(scope.get("scheme", "ws"), "http")
    return ASGIRequest({**scope, "type": "http", "method": "GET", "scheme": scheme}, BytesIO())


def _code(refusal: Refusal) -> int:
    return _TRY_AGAIN if refusal.status == 503 else _OWN_CODES + refusal.status


async def _deny(refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse the handshake: with the usual response, or with 403 if the server can do no more."""
    await receive()
    refusal = refused.refusal
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": _code(refusal), "reason": refusal.code})
        return
    response = http.respond(refused)
    headers = [(name.lower().encode(), value.encode()) for name, value in response.items()]
    start = {"status": response.status_code, "headers": headers}
    await send({"type": "websocket.http.response.start", **start})
    await send({"type": "websocket.http.response.body", "body": response.content})


async def _in_thread(function: Any, *arguments: Any) -> Any:
    return await sync_to_async(connected)(function, *arguments)
