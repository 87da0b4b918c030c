"""Verify credentials at the site from another process, by introspection or by its public keys."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any, Final, Protocol
from urllib.parse import urlsplit, urlunsplit

import anyio
import httpx
from joserfc import jwk, jwt
from joserfc.errors import JoseError

from .denials import Denied

_TIMEOUT: Final = 10.0  # seconds
_PAUSE: Final = 3.0  # seconds after a failure in which the metadata is not requested again
_KEYS_FOR: Final = 300.0  # seconds until the public keys are fetched again
_KEYS_AT_ONCE: Final = 30.0  # seconds between two fetches for unknown keys, or after a failed one
_KEYS_RETRY: Final = 5.0  # seconds between two fetches without any keys
_KEYS_STALE: Final = 3600.0  # seconds for which keys are used while the site does not answer


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about a verified credential."""

    client_id: str
    scopes: frozenset[str]
    subject: str | None = None
    expires_at: int | None = None
    #: Whether it may be used at the MCP server only because it was issued for it, or for a key.
    is_for_resource: bool = True
    claims: dict[str, Any] = field(default_factory=dict)
    access: Any = None


class Source(Protocol):
    """A way to verify a credential."""

    async def verify(self, token: str, scope: Mapping[str, Any]) -> Facts:
        """Return the facts of a credential in a request. Raise ``Denied``."""


class Remote:
    """Find the endpoints of an issuer (RFC 8414)."""

    def __init__(self, resource: str, issuer: str) -> None:
        for url in (resource, issuer):
            _check_secure(url)
        self.resource = resource
        self.issuer = issuer.rstrip("/")
        self._metadata: dict[str, Any] | None = None
        self._failed_at = float("-inf")
        self._lock = anyio.Lock()

    async def endpoint(self, name: str) -> str:
        """Return the URL of an endpoint. Raise ``Denied`` if the issuer cannot be read."""
        async with self._lock:
            if self._metadata is None:
                if time.monotonic() - self._failed_at < _PAUSE:
                    raise _unavailable()
                parts = urlsplit(self.issuer)
                path = f"/.well-known/oauth-authorization-server{parts.path}"
                url = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
                try:
                    found = await self.fetch("GET", url)
                except Denied:
                    self._failed_at = time.monotonic()
                    raise
                if str(found.get("issuer", "")).rstrip("/") != self.issuer:
                    raise _unavailable()  # RFC 8414 section 3.3
                self._metadata = found
            url = str(self._metadata.get(name, ""))
            try:
                _check_secure(url)
            except ValueError:
                self._metadata = None  # read it again: the site may add the endpoint
                raise _unavailable() from None
        return url

    async def fetch(self, method: str, url: str, **kwargs: Any) -> dict[str, Any]:
        """Return the JSON object at ``url``. Raise ``Denied`` (503) without one."""
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as http:
                response = await http.request(method, url, **kwargs)
            response.raise_for_status()
            data = response.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            raise _unavailable() from None
        if not isinstance(data, dict):
            raise _unavailable()
        return data


class Introspection(Remote):
    """Ask the site about each credential (RFC 7662), so that a revoked one is refused at once."""

    def __init__(self, resource: str, issuer: str, client_id: str, client_secret: str) -> None:
        super().__init__(resource, issuer)
        self._auth = httpx.BasicAuth(client_id, client_secret)

    async def verify(self, token: str, scope: Mapping[str, Any]) -> Facts:
        url = await self.endpoint("introspection_endpoint")
        data = await self.fetch("POST", url, data={"token": token}, auth=self._auth)
        if data.get("active") is not True:
            raise Denied("invalid_token")
        _check_address(data, scope)
        if (match := _KEY.match(token)) is not None:
            data["kind"] = _KINDS[match[1]]
        return _facts(data, self.issuer, self.resource)


class Keys(Remote):
    """Verify JWTs (RFC 9068) with the public keys of the site, without a request for each."""

    def __init__(self, resource: str, issuer: str) -> None:
        super().__init__(resource, issuer)
        self._keys: jwk.KeySet | None = None
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching = anyio.Lock()

    async def verify(self, token: str, scope: Mapping[str, Any]) -> Facts:
        if token.count(".") != 2:
            raise Denied("invalid_token")
        decoded = self._decode(token, await self._key_set(_KEYS_FOR))
        if decoded is None:  # maybe signed with a newer key
            decoded = self._decode(token, await self._key_set(_KEYS_AT_ONCE))
        if decoded is None or str(decoded.header.get("typ", "")).lower() != "at+jwt":
            raise Denied("invalid_token")
        rules = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True},
            exp={"essential": True},
        )
        try:
            rules.validate(decoded.claims)
        except JoseError:
            raise Denied("invalid_token") from None
        return _facts(decoded.claims, self.issuer, self.resource)

    def _decode(self, token: str, keys: jwk.KeySet) -> jwt.Token | None:
        try:
            return jwt.decode(token, keys, algorithms=["RS256"])
        except (JoseError, ValueError, KeyError, TypeError):
            return None

    async def _key_set(self, longest: float) -> jwk.KeySet:
        """Return keys that are at most ``longest`` seconds old, or older ones in an outage."""
        if (keys := self._younger_than(longest)) is not None:
            return keys
        async with self._fetching:
            if (keys := self._younger_than(longest)) is not None:
                return keys
            pause = _KEYS_RETRY if self._keys is None else _KEYS_AT_ONCE
            if time.monotonic() - self._tried_at > pause:
                await self._try_to_fetch()
        if (keys := self._younger_than(_KEYS_STALE)) is None:
            raise _unavailable()
        return keys

    def _younger_than(self, seconds: float) -> jwk.KeySet | None:
        return self._keys if time.monotonic() - self._fetched_at <= seconds else None

    async def _try_to_fetch(self) -> None:
        before, self._tried_at = self._tried_at, time.monotonic()
        try:
            data: Any = await self.fetch("GET", await self.endpoint("jwks_uri"))
            self._keys = jwk.KeySet.import_key_set(data)
            self._fetched_at = time.monotonic()
        except (Denied, JoseError, ValueError, KeyError, TypeError):
            return
        except BaseException:  # a request that is cancelled must not stop others from trying
            self._tried_at = before
            raise


def _facts(data: Mapping[str, Any], issuer: str, resource: str) -> Facts:
    audience = data.get("aud")
    audiences = [audience] if isinstance(audience, str) else list(audience or ())
    # A key and an unrestricted token have no audience.
    if audiences and not any(_covers(str(each), resource) for each in audiences):
        raise Denied("invalid_token", "This token was issued for another resource.")
    names = str(data.get("scope", "")).split()
    subject = data.get("sub")
    known = ("username", "project", "kind", "client_id", "aud")
    return Facts(
        client_id=str(data.get("client_id") or subject or ""),
        scopes=frozenset((*names, *(_implied(name) for name in names if name.endswith(":write")))),
        subject=str(subject) if subject is not None else None,
        expires_at=int(data["exp"]) if data.get("exp") is not None else None,
        is_for_resource="kind" in data or any(map(partial(is_for, resource), audiences)),
        claims={"iss": issuer} | {name: data[name] for name in known if name in data},
    )


_KEY: Final = re.compile(r"[a-z][a-z0-9]{1,15}_(pat|key)_[0-9a-z]{16}_")
_KINDS: Final = {"pat": "personal_access_token", "key": "project_key"}


def is_for(resource: str, audience: str) -> bool:
    """Return whether a token with this audience was issued for ``resource``, not for its site."""
    same = audience.rstrip("/") == resource.rstrip("/")
    return same or (_covers(audience, resource) and urlsplit(audience).path not in ("", "/"))


def _implied(name: str) -> str:
    return name.removesuffix(":write") + ":read"


def _covers(audience: str, resource: str) -> bool:
    """Return whether ``resource`` is ``audience`` or below it (RFC 8707)."""
    try:
        one, other = urlsplit(audience), urlsplit(resource)
        same = (one.scheme, one.hostname, one.port) == (other.scheme, other.hostname, other.port)
    except ValueError:
        return False
    return same and f"{other.path.rstrip('/')}/".startswith(f"{one.path.rstrip('/')}/")


def _check_address(data: Mapping[str, Any], scope: Mapping[str, Any]) -> None:
    """Refuse a key outside its allowed IP ranges. Without an address, refuse it too."""
    ranges = data.get("allowed_networks")
    if not ranges:
        return
    try:
        address = ip_address((scope.get("client") or ("",))[0])
        if any(address in ip_network(each, strict=False) for each in ranges):
            return
    except ValueError:
        pass
    detail = "This request comes from an address outside the credential's allowed IP ranges."
    raise Denied("ip_not_allowed", detail, status=403, error=None)


def _check_secure(url: str) -> None:
    parts = urlsplit(url)
    is_loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback)):
        raise ValueError(f"{url!r} must be an https URL.")


def _unavailable() -> Denied:
    return Denied("temporarily_unavailable", status=503, error=None, headers={"Retry-After": "5"})
