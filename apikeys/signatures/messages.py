"""Read a signed request as the client sent it. Imports no model and no cryptography."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from django.http import HttpRequest
from django.http.request import RawPostDataException
from django.utils.encoding import escape_uri_path

from .. import refusals
from ..refusals import Refused

_SPOKEN_TWICE: Final = ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH")


@dataclass(frozen=True, slots=True)
class Message:
    """A request as the client sent it."""

    method: str
    #: The absolute URL, percent-encoded as the client sent it.
    url: str
    headers: Mapping[str, str]
    #: Returns the body, after the signature was checked. ``None`` if the upstream compares it
    #: with its digest. Raises ``Refused`` if the body cannot be compared.
    body: Callable[[], bytes | None]


def is_signed(request: HttpRequest) -> bool:
    """Return whether the request has a signature and no ``Authorization``."""
    return "HTTP_SIGNATURE_INPUT" in request.META and not request.META.get("HTTP_AUTHORIZATION")


def message_of(request: HttpRequest) -> Message:
    """Return the message of a Django request. Trusts proxies as far as Django's settings do.

    Raise ``Refused`` if the server passes on ``Content_Type`` besides ``Content-Type``: one
    would be verified, and the other one used.
    """
    if not request.META.keys().isdisjoint(_SPOKEN_TWICE):
        raise Refused(refusals.MALFORMED_REQUEST)

    def body() -> bytes:
        try:
            return request.body
        except RawPostDataException:  # a middleware has read the body without keeping it
            raise Refused(refusals.BODY_NOT_COMPARED) from None

    return Message(
        method=request.method or "",
        url=f"{request.scheme}://{request.get_host()}{_target(request)}",
        headers=request.headers,
        body=body,
    )


def _target(request: HttpRequest) -> str:
    """Return the raw path and query, or Django's path if the raw path means another one."""
    scope: dict[str, Any] | None = getattr(request, "scope", None)
    query = request.META.get("QUERY_STRING", "")
    if scope is not None:
        raw = (scope.get("raw_path") or b"").decode("latin-1")
    else:  # the first is set by gunicorn, the second by uWSGI and mod_wsgi
        whole = request.META.get("RAW_URI") or request.META.get("REQUEST_URI") or ""
        raw = whole.partition("?")[0]
    if unquote_to_bytes(raw) != request.path.encode("utf-8", "surrogateescape"):
        raw = escape_uri_path(request.path)
    return f"{raw}?{query}" if query else raw
