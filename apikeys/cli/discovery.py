"""Where a site's endpoints are (RFC 9728, RFC 8414). Nothing is sent in the clear."""

from typing import Any, NamedTuple

import httpx

from .errors import LoginError

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Endpoints(NamedTuple):
    issuer: str
    authorization: str | None
    token: str
    revocation: str | None
    device_authorization: str | None
    #: Whether the answer to an authorization request names its issuer (RFC 9207).
    names_issuer: bool


def secure(url: str) -> str:
    """``url``, if it is https or stays on this machine; else raises ``LoginError``."""
    parsed = httpx.URL(url)
    if parsed.scheme == "https" or (parsed.scheme == "http" and parsed.host in _LOOPBACK):
        return url
    raise LoginError(f"{url} is not https: a token would be sent in the clear.")


def discover(http: httpx.Client, server: str) -> Endpoints:
    """Raises ``LoginError`` for a site that does not say, or that says what it may not."""
    secure(server)
    resource = _document(http, server + "/.well-known/oauth-protected-resource")
    if str(resource.get("resource", "")).rstrip("/") != server:
        # RFC 9728 section 3.3
        raise LoginError(f"{server} describes another resource, so it is not trusted.")
    issuers = resource.get("authorization_servers") or [server]
    issuer = secure(str(issuers[0])).rstrip("/")
    url = httpx.URL(issuer)
    path = "/.well-known/oauth-authorization-server" + url.path.rstrip("/")
    data = _document(http, str(url.copy_with(path=path)))
    if str(data.get("issuer", "")).rstrip("/") != issuer:
        # RFC 8414 section 3.3
        raise LoginError(f"{issuer} describes another issuer, so it is not trusted.")
    if "token_endpoint" not in data:
        raise LoginError(f"{issuer} names no token endpoint.")
    found = {name: secure(data[name]) for name in data if name.endswith("_endpoint")}
    return Endpoints(
        issuer=data["issuer"],
        authorization=found.get("authorization_endpoint"),
        token=found["token_endpoint"],
        revocation=found.get("revocation_endpoint"),
        device_authorization=found.get("device_authorization_endpoint"),
        names_issuer=bool(data.get("authorization_response_iss_parameter_supported")),
    )


def _document(http: httpx.Client, url: str) -> dict[str, Any]:
    try:
        response = http.get(url)
        response.raise_for_status()
        data = response.json()
    except httpx.HTTPError as error:
        raise LoginError(f"{url} cannot be read: {error}") from None
    except ValueError:
        raise LoginError(f"{url} is not JSON.") from None
    if not isinstance(data, dict):
        raise LoginError(f"{url} is not a JSON object.")
    return data
