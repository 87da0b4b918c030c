"""Tell a refused client which scopes it needs, and where the API is described (RFC 9728).

Only ``apikeys.oauth`` knows the description, and registers itself here. Without it, responses
do not change.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from .header import quotable


class Metadata(NamedTuple):
    """Functions of the app that describes the API. ``resource`` is ``None`` for Django's views."""

    #: Returns the URL of the description; ``None`` if the site does not serve it.
    url: Callable[[Any, str | None], str | None]
    #: Returns the description; ``None`` if the authorization server is unknown.
    document: Callable[[Any, str | None], Mapping[str, Any] | None]


_metadata: list[Metadata] = []

#: The path of the description below the origin (RFC 9728 section 3).
PATH: Final = "/.well-known/oauth-protected-resource"
#: Statuses of the responses that ``point`` completes.
REFUSED: Final = frozenset((401, 403))


def register(metadata: Metadata) -> None:
    """Describe the API with ``metadata`` from now on."""
    _metadata[:] = [metadata]


def document(request: Any, resource: str) -> Mapping[str, Any] | None:
    """Return the description of ``resource``; ``None`` without OAuth."""
    return _metadata[0].document(request, resource) if _metadata else None


def url(request: Any, resource: str | None = None) -> str | None:
    """Return the URL of the description; ``None`` without OAuth."""
    if not _metadata:
        return None
    try:
        return _metadata[0].url(request, resource)
    except DisallowedHost:
        return None


def point(request: HttpRequest, response: HttpResponseBase, scopes: Iterable[str] = ()) -> None:
    """Complete the challenge of a refusal; leave any other response as it is."""
    if not _metadata or response.status_code not in REFUSED:
        return
    header = response.headers.get("WWW-Authenticate", "")
    if header:
        response.headers["WWW-Authenticate"] = complete(
            header, response.status_code, url(request), scopes
        )


def complete(header: str, status: int, at: str | None, scopes: Iterable[str] = ()) -> str:
    """Return a challenge of this package with ``scope`` and ``resource_metadata``.

    A 403 already names its scopes (``insufficient_scope``). Any other 403 is returned as it is,
    because another token would not help.
    """
    is_step_up = 'error="insufficient_scope"' in header
    if not header.startswith('Bearer realm="') or (status != 401 and not is_step_up):
        return header
    if " resource_metadata=" in header or at is None:
        return header
    names = " ".join(dict.fromkeys(scopes))
    if names and ' scope="' not in header:
        header += f', scope="{quotable(names)}"'
    return f'{header}, resource_metadata="{quotable(at)}"'
