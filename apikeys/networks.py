"""Addresses and networks: from where a request comes, and from where a key may be used."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any, Final

from django.http import HttpRequest

from .conf import app_settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: In ``TRUSTED_PROXIES``: peers without an address, which is how a Unix socket looks.
UNIX: Final = "unix"

_FORWARDED_FOR: Final = "HTTP_X_FORWARDED_FOR"
_MAPPED: Final = IPv6Network("::ffff:0:0/96")

# The networks that a new address is told of by: what one household or office usually has.
_USUAL_PREFIX: Final = {4: 24, 6: 48}

_current_ip: ContextVar[str | None] = ContextVar("apikeys_current_ip", default=None)


@lru_cache(maxsize=4096)
def parse_address(text: str | None) -> Address | None:
    """An address without its zone, IPv4-mapped ones (RFC 4291 section 2.5.5.2) as IPv4."""
    try:
        address = ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str | None:
    address = parse_address(text)
    return None if address is None else str(address)


def parse_network(text: str) -> Network:
    """A network in CIDR notation, or a single address as one. Raises ``ValueError``.

    Bits beyond the prefix are an error: `10.0.0.5/8` may be meant as one address.
    """
    network = ip_network(text.strip())
    if network.version == 6 and network.subnet_of(_MAPPED):
        address = network.network_address.ipv4_mapped
        return IPv4Network((int(address or 0), network.prefixlen - 96))
    return network


@lru_cache(maxsize=4096)
def parse_all(text: str) -> tuple[Network, ...]:
    """Networks from what a key stores: CIDRs, separated by spaces."""
    return tuple(parse_network(each) for each in text.split())


def join(networks: Iterable[Network]) -> str:
    """How a key stores them."""
    unique = sorted(set(networks), key=lambda each: (each.version, each))
    return " ".join(map(str, unique))


def contains(networks: Iterable[Network], address: Address | None) -> bool:
    """Whether ``address`` is in one of ``networks``; an unknown address never is."""
    return address is not None and any(address in each for each in networks)


def admits(texts: Iterable[str], ip: str | None) -> bool:
    """Whether ``ip`` is in all of ``texts``, each a list of CIDRs; empty ones bound nothing."""
    for text in texts:  # noqa: SIM110 - at every request: no generator
        if text and not contains(parse_all(text), parse_address(ip)):
            return False
    return True


def is_within(network: Network, others: Iterable[Network]) -> bool:
    """Whether all of ``network`` lies in one of ``others``."""
    return any(
        network.version == each.version and network.subnet_of(each)  # type: ignore[arg-type]
        for each in others
    )


def usual_network(ip: str | None) -> str:
    """The /24 or /48 of an address, by which a use from elsewhere is told; empty for none."""
    if (address := parse_address(ip)) is None:
        return ""
    return str(ip_network((address, _USUAL_PREFIX[address.version]), strict=False))


@lru_cache(maxsize=1)
def _trusted(names: tuple[str, ...]) -> tuple[tuple[Network, ...], bool]:
    return parse_all(" ".join(name for name in names if name != UNIX)), UNIX in names


@lru_cache(maxsize=1)
def _reader() -> Any:
    from python_ipware import IpWare

    return IpWare(precedence=(_FORWARDED_FOR,), proxy_count=0)


def client_ip(request: HttpRequest | None) -> str | None:
    """The address of whoever sent ``request``; ``None`` if it cannot be told for sure.

    It is the peer's, unless that is one of ``TRUSTED_PROXIES``: then ``X-Forwarded-For`` is
    read from its end, which that proxy wrote, to the first address that is not trusted.
    """
    if request is None:
        return None
    peer = request.META.get("REMOTE_ADDR") or ""
    if not app_settings.TRUSTED_PROXIES:
        return _canonical(peer)
    address = _behind_proxies(parse_address(peer), peer, request.META.get(_FORWARDED_FOR, ""))
    return str(address) if address is not None else None


def _behind_proxies(address: Address | None, peer: str, forwarded: str) -> Address | None:
    proxies, is_unix_trusted = _trusted(tuple(app_settings.TRUSTED_PROXIES))
    if not (contains(proxies, address) or (not peer and is_unix_trusted)):
        return address
    for hop in reversed(forwarded.split(",") if forwarded else ()):
        found, _trusted_route = _reader().get_client_ip({_FORWARDED_FOR: hop})
        address = parse_address(str(found)) if found is not None else None
        if not contains(proxies, address):  # the client, or what no proxy should have written
            return address
    return address


@contextmanager
def asked_from(request: HttpRequest) -> Iterator[None]:
    """Within it, what is changed is told in the audit log to come from the request's client."""
    token = _current_ip.set(client_ip(request))
    try:
        yield
    finally:
        _current_ip.reset(token)


def current_ip() -> str | None:
    """The address of the client for whom something is done now, as ``asked_from`` says."""
    return _current_ip.get()
