"""Fetch a JSON document of an issuer, from public addresses only.

The address is checked after the name was resolved, and the connection goes to the address that
was checked, so that a name cannot change its address in between. Proxies in the environment are
not used.
"""

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from django.conf import settings

from .entries import Network, is_loopback

TIMEOUT: Final = 5.0  # seconds for one document, with its redirects
MOST: Final = 256 * 1024  # bytes
_REDIRECTS: Final = 3
_NAT64: Final = ip_network("64:ff9b::/96")

#: Errors of a fetch.
ERRORS: Final = (OSError, http.client.HTTPException, ValueError, RecursionError)


class FetchError(ValueError):
    """Raised when a document is not fetched, because of its URL, its address or its answer."""


def fetch(url: str, networks: Sequence[Network] = ()) -> Mapping[str, Any]:
    """Return the JSON object at ``url``. Raise one of ``ERRORS``.

    ``networks`` are private networks in which the server may be.
    """
    ends = time.monotonic() + TIMEOUT
    origin = _origin(url)
    for _ in range(_REDIRECTS + 1):
        connection = _connection(url, networks, ends)
        # The timeout of a socket is for each byte, so that a slow server could take hours.
        alarm = threading.Timer(_left(ends), _hang_up, [connection])
        alarm.daemon = True
        alarm.start()
        try:
            status, location, body = _get(connection, url)
        finally:
            alarm.cancel()
            connection.close()
        if location is None:
            break
        url = urljoin(url, location)
        if _origin(url) != origin:
            raise FetchError("The server redirects to another host.")
    else:
        raise FetchError("The server redirects too often.")
    if status != http.client.OK:
        raise FetchError(f"The server answers {status}.")
    document = json.loads(body)
    if not isinstance(document, dict):
        raise FetchError("The server sends no JSON object.")
    return document


def may_be_fetched(url: Any) -> bool:
    """Return whether ``url`` is one of https, or of this computer in ``DEBUG``."""
    try:
        _origin(url)
    except ValueError:
        return False
    return True


def _origin(url: Any) -> tuple[str, str, int]:
    if not isinstance(url, str):
        raise FetchError("The URL is not text.")
    parts = urlsplit(url)
    is_local = settings.DEBUG and is_loopback(url)
    if parts.scheme != "https" and not is_local:
        raise FetchError("Keys are only fetched over https.")
    if not parts.hostname or parts.username is not None or not url.isascii() or " " in url:
        raise FetchError("The URL is not a plain URL.")
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _connection(url: str, networks: Sequence[Network], ends: float) -> "_Plain | _Secure":
    scheme, host, port = _origin(url)
    addresses = _addresses(host, port, networks)
    kind = _Plain if scheme == "http" else _Secure
    return kind(host, port, addresses, _left(ends))


def _left(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("The server took too long.")
    return left


def _addresses(host: str, port: int, networks: Sequence[Network]) -> list[str]:
    """Return the addresses of ``host``. Raise ``FetchError`` if one of them is refused."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    if not all(is_allowed(each, networks) for each in addresses):
        raise FetchError("The server has a private address. See PRIVATE_NETWORKS.")
    return addresses


def is_allowed(text: str, networks: Sequence[Network] = ()) -> bool:
    """Return whether keys may be fetched from this address."""
    address = ip_address(text.partition("%")[0])
    if any(address in network for network in networks):
        return True
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None,))[0]
        if inner is None and address in _NAT64:
            inner = ip_address(address.packed[-4:])  # type: ignore[assignment]
        if inner is not None:
            return is_allowed(str(inner), networks)
    if address.is_loopback:
        return bool(settings.DEBUG)
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


class _Plain(http.client.HTTPConnection):
    """A connection to one of the addresses that were checked."""

    opened: socket.socket | None = None

    def __init__(self, host: str, port: int, addresses: Sequence[str], timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._addresses = addresses

    def connect(self) -> None:
        self.sock = self.opened = _open(self._addresses, self.port, self.timeout)


class _Secure(http.client.HTTPSConnection):
    """Like ``_Plain``. The certificate must be for the name of the host."""

    opened: socket.socket | None = None

    def __init__(self, host: str, port: int, addresses: Sequence[str], timeout: float) -> None:
        self._trusting = ssl.create_default_context()
        super().__init__(host, port, timeout=timeout, context=self._trusting)
        self._addresses = addresses

    def connect(self) -> None:
        self.opened = _open(self._addresses, self.port, self.timeout)
        self.sock = self.opened = self._trusting.wrap_socket(
            self.opened, server_hostname=self.host, do_handshake_on_connect=False
        )
        self.sock.do_handshake()


def _open(addresses: Sequence[str], port: int, timeout: float | None) -> socket.socket:
    error: OSError | None = None
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout)
        except OSError as failed:
            error = failed
    raise error or OSError("The host has no address.")


def _hang_up(connection: "_Plain | _Secure") -> None:
    """End a connection that another thread reads from."""
    if connection.opened is not None:
        with suppress(OSError):
            # Not the method of an SSL socket, which is not safe while another thread reads.
            socket.socket.shutdown(connection.opened, socket.SHUT_RDWR)


def _get(connection: "_Plain | _Secure", url: str) -> tuple[int, str | None, bytes]:
    """Return the status, the target of a redirect or ``None``, and the body."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "User-Agent": "apikeys",
    }
    connection.request("GET", target, headers=headers)
    with connection.getresponse() as response:
        if response.status in (301, 302, 303, 307, 308):
            return response.status, response.getheader("Location", ""), b""
        if (response.getheader("Content-Encoding") or "identity").lower() != "identity":
            raise FetchError("The server sends compressed data.")
        body = response.read(MOST + 1)
    if len(body) > MOST:
        raise FetchError("The document is too large.")
    return response.status, None, body
