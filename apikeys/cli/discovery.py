"""Discover a site's OAuth endpoints (RFC 9728, RFC 8414), over https only."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import httpx

from .client import json_object, printable
from .errors import LoginError

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Endpoints(NamedTuple):
    issuer: str
    authorization: str | None
    token: str
    revocation: str | None
    device_authorization: str | None
    registration: str | None
    #: The scopes that the site offers every client.
    scopes: Sequence[str]
    #: Whether authorization responses contain the issuer (RFC 9207).
    names_issuer: bool


def secure(url: object) -> str:
    """Return ``url`` if it is https or on the loopback. Raise ``LoginError`` otherwise."""
    try:
        if not isinstance(url, str):
            raise TypeError
        parsed = httpx.URL(url)
    except (TypeError, httpx.InvalidURL):
        raise LoginError(f"{printable(str(url))} is not a URL.") from None
    if parsed.scheme == "https" or (parsed.scheme == "http" and parsed.host in _LOOPBACK):
        return url
    raise LoginError(f"{url} is not https, so a token would be sent unencrypted.")


def discover(http: httpx.Client, server: str) -> Endpoints:
    """Fetch the metadata of ``server``. Raise ``LoginError`` if it is missing or not trusted."""
    secure(server)
    resource = _document(http, server + "/.well-known/oauth-protected-resource")
    if str(resource.get("resource", "")).rstrip("/") != server:
        # RFC 9728 section 3.3
        raise LoginError(f"{server} describes another resource, so it is not trusted.")
    issuers = resource.get("authorization_servers") or [server]
    issuer = secure(issuers[0] if isinstance(issuers, list) else issuers).rstrip("/")
    url = httpx.URL(issuer)
    path = "/.well-known/oauth-authorization-server" + url.path.rstrip("/")
    data = _document(http, str(url.copy_with(path=path)))
    if str(data.get("issuer", "")).rstrip("/") != issuer:
        # RFC 8414 section 3.3
        raise LoginError(f"{issuer} describes another issuer, so it is not trusted.")
    if "token_endpoint" not in data:
        raise LoginError(f"{issuer} does not have a token endpoint.")
    found = {name: secure(data[name]) for name in data if name.endswith("_endpoint")}
    return Endpoints(
        issuer=data["issuer"],
        authorization=found.get("authorization_endpoint"),
        token=found["token_endpoint"],
        revocation=found.get("revocation_endpoint"),
        device_authorization=found.get("device_authorization_endpoint"),
        registration=found.get("registration_endpoint"),
        scopes=[name for name in _list(data.get("scopes_supported")) if isinstance(name, str)],
        names_issuer=bool(data.get("authorization_response_iss_parameter_supported")),
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _document(http: httpx.Client, url: str) -> dict[str, Any]:
    try:
        response = http.get(url)
        response.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise LoginError(f"{url} cannot be read: {printable(str(error))}") from None
    if (data := json_object(response)) is None:
        raise LoginError(f"{url} is not a JSON object. Does this network need a login?")
    return data
