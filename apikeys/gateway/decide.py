"""Decide whether the gateway allows a request. The endpoint and the reverse proxy share this."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar, cast

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .. import acceptance, claims, refusals, restrictions, signatures, usage
from ..access import Access
from ..conf import app_settings, slug_of
from ..databases import unavailable
from ..databases.threads import connected
from ..drf import InsufficientScope, refuse
from ..drf.exceptions import RefusedException
from ..drf.throttling import RateLimited
from ..http import discovery, shared_caches
from ..http.header import not_authenticated, read_credential
from ..legacy import verify as legacy
from ..limits import counting, networks
from ..policy import get_policy
from ..refusals import Refused
from ..restrictions import EMPTY
from ..usage import denied
from ..verify import recall, verify
from . import paths, routes
from .bindings import denial_of, owner_of
from .conf import PROXIES, gateway_settings
from .original import Original, OriginalRequest

Found = TypeVar("Found", Access, Access | None)

#: The headers that describe the caller to the upstream. All are set for each request, even if
#: empty, so that they replace any value that the client sent.
IDENTITY_HEADERS: Final = (
    "X-Auth-Kind",
    "X-Auth-Subject",
    "X-Auth-User",
    "X-Auth-Project",
    "X-Auth-Client",
    "X-Auth-Scopes",
    "X-Auth-Credential-Id",
    "X-Auth-Metadata",
)


class Decision(NamedTuple):
    """An allowed request: the caller's access, and the ``RateLimit`` header fields."""

    access: Access
    fields: Mapping[str, str]


class Granted(NamedTuple):
    """The granted scopes of a request, and the project of its bindings if they have one."""

    scopes: tuple[str, ...]
    #: A primary key, or ``""``.
    project: Any = ""


@sensitive_variables("original")
def decide(original: Original) -> Decision:
    """Return the decision to allow the request. Raise ``RefusedException`` otherwise."""
    access = authenticate(original, verify)
    return Decision(access, admit(access, original))


@sensitive_variables("original")
async def adecide(original: Original) -> Decision:
    """Decide in the event loop if everything is in memory; otherwise in a thread.

    Returns and raises the same as ``decide``.
    """
    access = None if _takes_a_thread(original) else authenticate(original, recall)
    if access is None:
        return cast("Decision", await in_thread(decide, original))
    # Django refuses queries in an event loop, so a cache miss raises SynchronousOnlyOperation.
    with suppress(SynchronousOnlyOperation):
        if not counting.waits(access):
            return Decision(access, admit(access, original))
    return Decision(access, await in_thread(admit, access, original))


def _takes_a_thread(original: Original) -> bool:
    """Return whether the check is slow: a signature, or the hash of an imported key."""
    if original.signed is not None:
        return True
    return bool(app_settings.LEGACY) and not original.authorization.lower().startswith("bearer")


async def in_thread(function: Any, *arguments: Any) -> Any:
    """Run ``function`` in a thread of a pool that keeps its database connections.

    Django's ASGI handler would use a new thread, and so a new connection, for each request.
    """
    return await sync_to_async(connected, thread_sensitive=False)(function, *arguments)


@sensitive_variables("original", "credential")
def authenticate(original: Original, verify: Callable[[str, HttpRequest], Found]) -> Found:
    """Return the caller's access, from ``verify`` or ``recall``. Raise ``RefusedException``."""
    request = OriginalRequest(original)
    try:
        credential = read_credential(request)
        if credential is not None:
            return verify(credential, request)
        if app_settings.LEGACY and (access := legacy.authenticate(request)) is not None:
            return access
        if original.signed is not None:
            return signatures.verify(original.signed, request)
        refusal = not_authenticated(request)
    except Refused as refused:
        refusal = refused.refusal
    raise refuse(refusal)


@sensitive_variables("original")
def admit(access: Access, original: Original) -> Mapping[str, str]:
    """Authorize and count the request; return the ``RateLimit`` header fields.

    Raise ``RefusedException``.
    """
    try:
        granted = authorize(access, original)
    except Exception as error:
        if (refusal := unavailable.refusal(error)) is None:
            raise
        raise refuse(refusal) from None
    try:
        fields = counting.spend(access)
    except Refused as refused:
        limited = RateLimited.of(refused)
    else:
        usage.note_scopes(access, granted.scopes, granted.project)
        return fields
    raise limited


@sensitive_variables("original")
def authorize(access: Access, original: Original) -> Granted:
    """Check the kind of credential, routes, scopes and bindings. Raise ``RefusedException``."""
    _check_kind(access)
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
    projects = set()
    for route, parameters in matching:
        for name, kind in route.bindings.items():
            owner = owner_of(access, kind, parameters[name], route.scopes)
            if owner is None:
                denial = denial_of(access, kind, parameters[name], route.scopes)
                if denial is not None:
                    denied.note(denial, networks.client_ip(OriginalRequest(original)))
                    raise refuse(refusals.DENIED_IN_PROJECT)
                raise refuse(refusals.NOT_BOUND, kind=kind)
            projects.add(owner.project)
    scopes = matching[0][0].scopes
    if len(matching) > 1:
        scopes = tuple(sorted({scope for route, _ in matching for scope in route.scopes}))
    return Granted(scopes, projects.pop() if len(projects) == 1 else "")


async def arefusal_headers(*arguments: Any) -> dict[str, Any]:
    """Return what ``refusal_headers`` returns, in a thread if it needs the database."""
    try:
        return refusal_headers(*arguments)
    except SynchronousOnlyOperation:
        return cast("dict[str, Any]", await in_thread(refusal_headers, *arguments))


def _scopes(method: str, target: str) -> list[str]:
    """Return the scopes of the routes that a refused request matches."""
    try:
        matching = routes.find(method, paths.parse(target))
    except paths.Ambiguous:
        return []
    except Exception as error:
        if unavailable.reason(error) is None:
            raise
        return []
    return [scope for route, _ in matching for scope in route.scopes]


def _check_kind(access: Access) -> None:
    try:
        acceptance.check(access)
    except Refused as refused:
        refusal = refused.refusal
    else:
        return
    raise refuse(refusal)


def identity(access: Access) -> dict[str, str]:
    """Return the ``IDENTITY_HEADERS``: visible ASCII, the rest percent-encoded as UTF-8.

    The metadata is JSON with escapes, so that it is ASCII too.
    """
    user, project, client = access.user, access.project, access.client
    if user is not None:
        subject = str(user.pk)
    elif project is not None:
        subject = f"project:{slug_of(project)}"
    else:
        subject = f"client:{client.client_id}" if client is not None else ""
    told = (
        access.kind,
        subject,
        user.get_username() if user is not None else "",
        slug_of(project) if project is not None else "",
        client.client_id if client is not None else "",
        None,
        access.credential_id,
        "",
    )
    values = [None if text is None else _visible(text) for text in told]
    scopes = " ".join(map(_visible, sorted(access.scopes)))
    headers = {
        name: scopes if value is None else value
        for name, value in zip(IDENTITY_HEADERS, values, strict=True)
    }
    if access.stored_metadata is not None:
        headers["X-Auth-Metadata"] = _published(access)
    return headers


def _published(access: Access) -> str:
    metadata = claims.published(access.project or access.user, access.metadata)
    return json.dumps(metadata, separators=(",", ":")) if metadata else ""


def _visible(text: str) -> str:
    return "".join(
        c if "!" <= c <= "~" and c != "%" else "".join(f"%{b:02X}" for b in _bytes(c)) for c in text
    )


def _bytes(character: str) -> bytes:
    return character.encode("utf-8", "replace")


def max_age(access: Access, original: Original) -> int:
    """Return for how many seconds the proxy may cache this decision; 0 if it must not.

    Never beyond the expiry of the credential. The proxy's cache key has the method, the target
    and ``Authorization``. So a decision that depends on anything else is not cached: an address,
    a rate limit, another header such as ``Origin``, or a signature, which is valid only once.
    """
    longest = gateway_settings.GATEWAY_MAX_AGE
    # ``Authorization`` may contain something else, such as a password for another proxy.
    if not longest or access.signed or not original.authorization or any(original.keys.values()):
        return 0
    if original.origin:  # a response to a page names its origin
        return 0
    if _is_decided_anew(access):
        return 0
    if access.expires_at is None:
        return longest
    left = int((access.expires_at - timezone.now()).total_seconds())
    return max(0, min(longest, left))


def _is_decided_anew(access: Access) -> bool:
    """Return whether the next request may be decided otherwise, by the key or the policy."""
    if restrictions.bounds(access) != EMPTY:
        return True
    owner = access.project or access.user
    try:
        return counting.is_limited(access) or (
            owner is not None and bool(get_policy().allowed_networks(owner))
        )
    except SynchronousOnlyOperation:  # the policy makes a query, and this is an event loop
        return True


def vary() -> str:
    """Return the ``Vary`` of a decision: the headers with the credential and the request."""
    target = PROXIES.get(gateway_settings.GATEWAY_PROXY) or ()
    return ", ".join((*shared_caches.credential_headers(), *target))


def refusal_headers(
    refused: RefusedException, request: HttpRequest, method: str = "", target: str = ""
) -> dict[str, Any]:
    """Return the header fields of a refusal, the same as from DRF.

    ``request`` says where the resource is described if ``GATEWAY_URL`` does not.
    """
    headers = {"Cache-Control": "no-store", **refused.fields}
    if (header := refused.auth_header) and refused.status_code in discovery.REFUSED:
        url = gateway_settings.GATEWAY_URL
        at = discovery.url(request, url and url.rstrip("/"))
        scopes = () if at is None else _scopes(method, target)
        header = discovery.complete(header, refused.status_code, at, scopes)
    if header:
        headers["WWW-Authenticate"] = header
    if refused.wait:
        headers["Retry-After"] = str(refused.wait)
    return headers
