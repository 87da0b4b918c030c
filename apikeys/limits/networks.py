"""Determine the address of a client, and compare it with allowed IP ranges."""

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

from ..conf import UNIX, app_settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


_LONGEST: Final = 100  # characters of an address with its zone, or of a network
_MOST_HOPS: Final = 50  # maximum number of proxies in X-Forwarded-For

_FORWARDED_FOR: Final = "HTTP_X_FORWARDED_FOR"
_MAPPED: Final = IPv6Network("::ffff:0:0/96")

# The prefix of the network that one household or office usually has.
_USUAL_PREFIX: Final = {4: 24, 6: 48}

_current_ip: ContextVar[str | None] = ContextVar("apikeys_current_ip", default=None)


@lru_cache(maxsize=4096)
def parse_address(text: str | None) -> Address | None:
    """Return the address without its zone, or ``None``.

    An IPv4-mapped address (RFC 4291 section 2.5.5.2) becomes IPv4.
    """
    try:
        address = ip_address((text or "")[:_LONGEST].partition("%")[0])
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
    """Parse a network in CIDR notation, or a single address. Raise ``ValueError``.

    Refuses bits beyond the prefix: `10.0.0.5/8` may be meant as a single address.
    """
    if len(text) > _LONGEST:
        raise ValueError("It is too long for a network.")
    network = ip_network(text.strip())
    if network.version == 6 and network.subnet_of(_MAPPED):
        address = network.network_address.ipv4_mapped
        return IPv4Network((int(address or 0), network.prefixlen - 96))
    return network


def without_host_bits(text: str) -> Network | None:
    """Return the network that ``text``, such as ``10.0.0.5/8``, is in. ``None`` for other text."""
    try:
        return parse_network(str(ip_network(text[:_LONGEST].strip(), strict=False)))
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def parse_all(text: str) -> tuple[Network, ...]:
    """Parse CIDRs separated by spaces, as stored in a key."""
    return tuple(parse_network(each) for each in text.split())


def join(networks: Iterable[Network]) -> str:
    """Return the networks as text for storage in a key: unique and sorted."""
    unique = sorted(set(networks), key=lambda each: (each.version, each))
    return " ".join(map(str, unique))


def contains(networks: Iterable[Network], address: Address | None) -> bool:
    """Return whether ``address`` is in one of ``networks``. ``None`` never is."""
    return address is not None and any(address in each for each in networks)


def allowed_from(texts: Iterable[str], ip: str | None) -> bool:
    """Return whether ``ip`` is in every list of CIDRs. An empty list allows any address."""
    for text in texts:  # noqa: SIM110 - at every request: no generator
        if text and not contains(parse_all(text), parse_address(ip)):
            return False
    return True


admits = allowed_from  # the name in version 1.0


def is_within(network: Network, others: Iterable[Network]) -> bool:
    """Return whether one of ``others`` contains all of ``network``."""
    return any(
        network.version == each.version and network.subnet_of(each)  # type: ignore[arg-type]
        for each in others
    )


def usual_network(ip: str | None) -> str:
    """Return the /24 or /48 of an address, for notices about new networks; empty for none."""
    if (address := parse_address(ip)) is None:
        return ""
    return str(ip_network((address, _USUAL_PREFIX[address.version]), strict=False))


def counted(ip: str | None) -> str:
    """Return the name under which attempts from an address are counted; ``?`` if unknown.

    For IPv6 it is the /64, because one client usually has all of its addresses.
    """
    address = parse_address(ip)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return "?" if address is None else str(address)


@lru_cache(maxsize=1)
def _trusted(names: tuple[str, ...]) -> tuple[tuple[Network, ...], bool]:
    return parse_all(" ".join(name for name in names if name != UNIX)), UNIX in names


@lru_cache(maxsize=1)
def _reader() -> Any:
    from python_ipware import IpWare

    return IpWare(precedence=(_FORWARDED_FOR,), proxy_count=0)


def client_ip(request: HttpRequest | None) -> str | None:
    """Return the client's address; ``None`` if it is not certain.

    This is the address of the peer. If the peer is one of ``TRUSTED_PROXIES``, it is the last
    address in ``X-Forwarded-For`` that is not a trusted proxy.
    """
    if request is None:
        return None
    peer = (request.META.get("REMOTE_ADDR") or "")[:_LONGEST]  # some servers set it from a header
    if not app_settings.TRUSTED_PROXIES:
        return _canonical(peer)
    address = _behind_proxies(parse_address(peer), peer, request.META.get(_FORWARDED_FOR, ""))
    return str(address) if address is not None else None


def _behind_proxies(address: Address | None, peer: str, forwarded: str) -> Address | None:
    proxies, is_unix_trusted = _trusted(tuple(app_settings.TRUSTED_PROXIES))
    if not (contains(proxies, address) or (not peer and is_unix_trusted)):
        return address
    hops = forwarded.rsplit(",", _MOST_HOPS) if forwarded else []
    if len(hops) > _MOST_HOPS:  # a client can send any number
        hops[0] = ""
    # Let ipware parse one hop at a time: it would need a fixed number of proxies.
    for hop in reversed(hops):
        found, _trusted_route = _reader().get_client_ip({_FORWARDED_FOR: hop[:_LONGEST]})
        address = parse_address(str(found)) if found is not None else None
        if not contains(proxies, address):  # the client, or an invalid entry
            return address
    return address


@contextmanager
def asked_from(request: HttpRequest) -> Iterator[None]:
    """Record the client's address in audit events of changes inside the block."""
    token = _current_ip.set(client_ip(request))
    try:
        yield
    finally:
        _current_ip.reset(token)


def current_ip() -> str | None:
    """Return the address that ``asked_from`` has set for the current request, or ``None``."""
    return _current_ip.get()
