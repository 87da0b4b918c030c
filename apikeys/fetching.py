"""Fetch a document from public addresses only, within a total time and a size.

The addresses are checked after the name was resolved, and the connection goes to an address that
was checked, so that a name cannot change its address in between. Proxies in the environment are
not used, and no redirect is followed.
"""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Sequence
from email.message import Message
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network

#: Errors of a fetch.
ERRORS: Final = (OSError, http.client.HTTPException, ValueError, RecursionError)

_NAT64: Final = ip_network("64:ff9b::/96")
#: Networks for documentation and protocols, which some versions of Python call global.
_SPECIAL: Final = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")))


class FetchError(ValueError):
    """Raised when a document is not fetched, because of its URL, its address or its answer."""


class Answer(NamedTuple):
    """The response of the server."""

    status: int
    headers: Message
    body: bytes


def get(
    url: str,
    *,
    ends: float,
    most: int,
    accept: str = "application/json",
    networks: Sequence[Network] = (),
    is_local: bool = False,
) -> Answer:
    """Return the answer to a ``GET`` of ``url``. Raise one of ``ERRORS``.

    ``ends`` is the time of ``time.monotonic`` at which the fetch gives up. Only the resolver of
    the system has a limit of its own. ``most`` is the size of the largest body in bytes.
    ``networks`` are private networks in which the server may be. ``is_local`` accepts this
    computer, also over http.
    """
    scheme, host, port = origin(url, is_local=is_local)
    opened = _open(_addresses(host, port, networks, is_local), port, ends)
    try:
        if scheme == "https":
            opened = ssl.create_default_context().wrap_socket(
                opened, server_hostname=host, do_handshake_on_connect=False
            )
            opened.settimeout(_left(ends))  # for the whole handshake
            opened.do_handshake()
        return _ask(_Limited(opened, ends), url, most, accept)
    finally:
        opened.close()


def origin(url: Any, *, is_local: bool = False) -> tuple[str, str, int]:
    """Return the scheme, host and port of a URL that may be fetched. Raise ``FetchError``."""
    if not isinstance(url, str):
        raise FetchError("The URL is not text.")
    parts = urlsplit(url)
    is_plain = (
        is_local and parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    )
    if parts.scheme != "https" and not is_plain:
        raise FetchError("Documents are only fetched over https.")
    if not parts.hostname or "@" in parts.netloc or not url.isascii() or " " in url:
        raise FetchError("The URL is not a plain URL.")
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def is_allowed(text: str, networks: Sequence[Network] = (), *, is_local: bool = False) -> bool:
    """Return whether documents may be fetched from this address."""
    address = ip_address(text.partition("%")[0])
    if any(address in network for network in networks):
        return True
    if isinstance(address, IPv6Address):
        inner = [*(address.teredo or ()), address.ipv4_mapped or address.sixtofour]
        if address in _NAT64:
            inner = [ip_address(address.packed[-4:])]
        found = [str(each) for each in inner if each is not None]
        if found:
            return all(is_allowed(each, networks, is_local=is_local) for each in found)
        if address.is_site_local:
            return False
    if address.is_loopback:
        return is_local
    return address.is_global and not (
        address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or any(address in network for network in _SPECIAL)
    )


def _addresses(host: str, port: int, networks: Sequence[Network], is_local: bool) -> list[str]:
    """Return the addresses of ``host``. Raise ``FetchError`` if one of them is refused."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    if not all(is_allowed(each, networks, is_local=is_local) for each in addresses):
        raise FetchError("The server has a private address.")
    return addresses


def _left(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("The server took too long.")
    return left


def _open(addresses: Sequence[str], port: int, ends: float) -> socket.socket:
    error: OSError | None = None
    for address in addresses:
        left = _left(ends)
        try:
            return socket.create_connection((address, port), left)
        except OSError as failed:
            error = failed
    raise error or OSError("The host has no address.")


class _Limited(io.RawIOBase):
    """A socket that gives up at a time, however often a byte arrives.

    The timeout of a socket alone is for each byte, so that a slow server could take hours.
    """

    def __init__(self, opened: socket.socket, ends: float) -> None:
        self._opened = opened
        self._ends = ends

    def sendall(self, data: Any) -> None:
        self._opened.settimeout(_left(self._ends))
        self._opened.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Limited(self._opened, self._ends))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._opened.settimeout(_left(self._ends))
        return self._opened.recv_into(buffer)


def _ask(limited: _Limited, url: str, most: int, accept: str) -> Answer:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {
        "Host": parts.netloc,
        "Accept": accept,
        "Accept-Encoding": "identity",
        "Connection": "close",
        "User-Agent": "apikeys",
    }
    connection = http.client.HTTPConnection(parts.netloc)
    connection.sock = limited
    connection.request("GET", target, headers=headers)
    with connection.getresponse() as response:
        if (response.getheader("Content-Encoding") or "identity").lower() != "identity":
            raise FetchError("The server sends compressed data.")
        body = response.read(most + 1)
    if len(body) > most:
        raise FetchError("The document is too large.")
    return Answer(response.status, response.headers, body)
