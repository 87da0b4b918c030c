"""Signed requests (RFC 9421): a key that holds a public key in place of a secret.

A request without ``Authorization`` and with ``Signature-Input`` comes here. Needs the extra
``signatures``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from django.http import HttpRequest
from django.http.request import RawPostDataException
from django.utils.encoding import escape_uri_path

from .. import refusals
from ..access import Access
from ..refusals import Refused


@dataclass(frozen=True, slots=True)
class Message:
    """A request as its sender addressed it."""

    method: str
    #: Absolute, percent-encoded as it was sent.
    url: str
    headers: Mapping[str, str]
    #: Asked for once the signature is good. ``None``: somebody else compares it with its
    #: digest. Raises ``Refused`` where nobody can.
    body: Callable[[], bytes | None]


def is_signed(request: HttpRequest) -> bool:
    return "HTTP_SIGNATURE_INPUT" in request.META and not request.META.get("HTTP_AUTHORIZATION")


def authenticate(request: HttpRequest) -> Access | None:
    """Who signed ``request``; ``None`` if nobody did. Raises ``Refused``."""
    return verify(message_of(request), request) if is_signed(request) else None


def verify(message: Message, request: HttpRequest | None = None) -> Access:
    """Who signed ``message``, which is good for once. Raises ``Refused``."""
    access: Access = _verification().verify(message, request)
    return access


def prove(message: Message) -> None:
    """That a key has signed ``message``, whose body is not asked for. Raises ``Refused``.

    For whom it costs to have the body: whether the key may be used is not said yet.
    """
    _verification().prove(message)


def _verification() -> Any:
    try:
        from . import verification
    except ImportError:
        raise Refused(refusals.SIGNATURE_NOT_ACCEPTED) from None
    return verification


_SPOKEN_TWICE: Final = ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH")


def message_of(request: HttpRequest) -> Message:
    """What Django knows of it, behind proxies what its settings let it believe of them.

    Raises ``Refused`` for a ``Content_Type``, which some servers pass on beside ``Content-Type``:
    the one would be compared, and the other obeyed.
    """
    if not request.META.keys().isdisjoint(_SPOKEN_TWICE):
        raise Refused(refusals.MALFORMED_REQUEST)

    def body() -> bytes:
        try:
            return request.body
        except RawPostDataException:  # something read it before, and did not keep it
            raise Refused(refusals.BODY_NOT_COMPARED) from None

    return Message(
        method=request.method or "",
        url=f"{request.scheme}://{request.get_host()}{_target(request)}",
        headers=request.headers,
        body=body,
    )


def _target(request: HttpRequest) -> str:
    """Path and query as they came, if the path is the one that Django goes by."""
    scope: dict[str, Any] | None = getattr(request, "scope", None)
    query = request.META.get("QUERY_STRING", "")
    if scope is not None:
        raw = (scope.get("raw_path") or b"").decode("latin-1")
    else:  # gunicorn's name, and that of uWSGI and mod_wsgi
        whole = request.META.get("RAW_URI") or request.META.get("REQUEST_URI") or ""
        raw = whole.partition("?")[0]
    if unquote_to_bytes(raw) != request.path.encode("utf-8", "surrogateescape"):
        raw = escape_uri_path(request.path)
    return f"{raw}?{query}" if query else raw
