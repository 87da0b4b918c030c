"""May this request pass? The one decision behind the endpoint and the reverse proxy."""

from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Final, TypeVar, cast

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import InterfaceError, OperationalError, close_old_connections
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .. import refusals, signatures
from ..access import Access
from ..conf import app_settings
from ..drf import InsufficientScope, KeyThrottle, refuse
from ..drf.exceptions import RefusedException, unavailable
from ..drf.throttling import is_limited, waits
from ..header import read_credential
from ..legacy import verify as legacy
from ..refusals import Refused
from ..verify import recall, verify
from . import paths, routes
from .bindings import holds
from .original import Original, OriginalRequest

Found = TypeVar("Found", Access, Access | None)

#: What the upstream is told of the caller. All are set at every request, empty where there is
#: nothing to tell, so that no value that a client sent stays.
IDENTITY_HEADERS: Final = (
    "X-Auth-Kind",
    "X-Auth-Subject",
    "X-Auth-User",
    "X-Auth-Project",
    "X-Auth-Client",
    "X-Auth-Scopes",
    "X-Auth-Credential-Id",
)


@sensitive_variables("original")
def decide(original: Original) -> Access:
    """Who makes the request, which may pass. Raises ``RefusedException``."""
    access = authenticate(original, verify)
    admit(access, original)
    return access


@sensitive_variables("original")
async def adecide(original: Original) -> Access:
    """As ``decide``, without a thread where all is in memory; else in one, for all the rest."""
    access = None if _takes_a_thread(original) else authenticate(original, recall)
    if access is None:
        return cast("Access", await in_thread(decide, original))
    if not waits(access):
        # Django lets no query be made in an event loop, so what is missing says so.
        with suppress(SynchronousOnlyOperation):
            admit(access, original)
            return access
    await in_thread(admit, access, original)
    return access


def _takes_a_thread(original: Original) -> bool:
    """Whether it is checked by more than a digest: a signature, or the hash of a predecessor."""
    if original.signed is not None:
        return True
    return bool(app_settings.LEGACY) and not original.authorization.lower().startswith("bearer")


async def in_thread(function: Any, *arguments: Any) -> Any:
    # One of a pool whose connections stay, as CONN_MAX_AGE says: Django's own way under ASGI is
    # a new thread, and so a new connection, for every request.
    return await sync_to_async(_connected, thread_sensitive=False)(function, *arguments)


@sensitive_variables()
def _connected(function: Any, *arguments: Any) -> Any:
    close_old_connections()
    try:
        return function(*arguments)
    finally:
        close_old_connections()


@sensitive_variables("original", "credential")
def authenticate(original: Original, verify: Callable[[str, HttpRequest], Found]) -> Found:
    request = OriginalRequest(original)
    try:
        credential = read_credential(request)
        if credential is not None:
            return verify(credential, request)
        if app_settings.LEGACY and (access := legacy.authenticate(request)) is not None:
            return access
        if original.signed is not None:
            return signatures.verify(original.signed, request)
        refusal = refusals.NOT_AUTHENTICATED
    except Refused as refused:
        refusal = refused.refusal
    raise refuse(refusal)


@sensitive_variables("original")
def admit(access: Access, original: Original) -> None:
    try:
        authorize(access, original)
    except (OperationalError, InterfaceError) as error:
        raise unavailable(error) from None
    # Raises 429; of a view it takes no more than this.
    KeyThrottle().allow_request(
        cast("Any", SimpleNamespace(auth=access)), SimpleNamespace(headers={})
    )


@sensitive_variables("original")
def authorize(access: Access, original: Original) -> None:
    if not paths.is_method(original.method):
        raise refuse(refusals.NO_ROUTE)
    try:
        target = paths.parse(original.target)
    except paths.Ambiguous:
        raise refuse(refusals.AMBIGUOUS_PATH) from None
    matching = routes.find(original.method, target)
    if not matching:
        raise refuse(refusals.NO_ROUTE)
    for route, _ in matching:
        if not access.allows(*route.scopes):
            raise InsufficientScope(*route.scopes)
    for route, parameters in matching:
        for name, kind in route.bindings.items():
            if not holds(access, kind, parameters[name], route.scopes):
                raise refuse(refusals.NOT_BOUND, kind=kind)


def identity(access: Access) -> dict[str, str]:
    """The ``IDENTITY_HEADERS``: visible ASCII, everything else percent-encoded as UTF-8."""
    user, project, client = access.user, access.project, access.client
    if user is not None:
        subject = str(user.pk)
    elif project is not None:
        subject = f"project:{project.slug}"
    else:
        subject = f"client:{client.client_id}" if client is not None else ""
    told = (
        access.kind,
        subject,
        user.get_username() if user is not None else "",
        project.slug if project is not None else "",
        client.client_id if client is not None else "",
        None,
        access.credential_id,
    )
    values = [None if text is None else _visible(text) for text in told]
    scopes = " ".join(map(_visible, sorted(access.scopes)))
    return {
        name: scopes if value is None else value
        for name, value in zip(IDENTITY_HEADERS, values, strict=True)
    }


def _visible(text: str) -> str:
    return "".join(
        c if "!" <= c <= "~" and c != "%" else "".join(f"%{b:02X}" for b in _bytes(c)) for c in text
    )


def _bytes(character: str) -> bytes:
    return character.encode("utf-8", "replace")


def max_age(access: Access, original: Original) -> int:
    """For how many seconds the proxy may repeat this decision; never beyond the expiry.

    None where the next request may be decided otherwise: a signature is good once, and neither
    the address, nor the number of requests, nor a header other than ``Authorization`` is in what
    the proxy tells decisions apart by.
    """
    longest = app_settings.GATEWAY_MAX_AGE
    if not longest or access.signed or not original.authorization:
        return 0
    if is_limited(access) or _is_bound_to_networks(access):
        return 0
    if access.expires_at is None:
        return longest
    left = int((access.expires_at - timezone.now()).total_seconds())
    return max(0, min(longest, left))


def _is_bound_to_networks(access: Access) -> bool:
    if access.allowed_networks:
        return True
    owner = access.project or access.user
    try:
        return owner is not None and bool(app_settings.POLICY.allowed_networks(owner))
    except SynchronousOnlyOperation:  # a policy that makes a query, asked in an event loop
        return True


def refusal_headers(refused: RefusedException) -> dict[str, Any]:
    """``WWW-Authenticate`` and ``Retry-After``, as DRF sends them."""
    headers = {"Cache-Control": "no-store"}
    if refused.auth_header:
        headers["WWW-Authenticate"] = refused.auth_header
    if refused.wait:
        headers["Retry-After"] = str(refused.wait)
    return headers
