"""Declare the settings of the gateway."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from ..conf import rules
from ..conf.rules import Rule
from ..conf.setting import Setting, Table

#: The headers in which each proxy sends method and target. Envoy sends the request itself.
PROXIES: Final[Mapping[str, tuple[str, str] | None]] = {
    "nginx": ("X-Original-Method", "X-Original-URI"),
    "traefik": ("X-Forwarded-Method", "X-Forwarded-Uri"),
    "caddy": ("X-Forwarded-Method", "X-Forwarded-Uri"),
    "envoy": None,
    "haproxy": ("X-Original-Method", "X-Original-URI"),
    "apache": ("X-Original-Method", "X-Original-URI"),
}


def _is_base(url: Any) -> bool:
    return rules.is_url(url) and not (urlsplit(url).query or urlsplit(url).fragment)


def _is_upstream(url: Any) -> bool:
    return rules.is_url(url) and bool(re.fullmatch(r"https?://[^/?#@\s]+/?", url))


class GatewaySettings(Table):
    GATEWAY_PROXY = Setting(
        "nginx",
        rules.one_of(*PROXIES),
        "The proxy in front of [the gateway](gateway.md). Only the headers of this proxy are "
        "trusted to describe a request.",
        check="E040",
    )
    GATEWAY_ROUTES = Setting(
        (),
        Rule[Sequence[Mapping[str, Any]]](
            "a list of routes", lambda given: isinstance(given, list | tuple)
        ),
        "The routes that the gateway allows, in addition to the routes in the database. "
        "See [routes](gateway.md#routes).",
        check="E041",
        hint='Set it to, for example, [{"method": "GET", "path": "/offers/{id}", "scopes": '
        '["offers:read"]}].',
    )
    GATEWAY_URL = Setting(
        None,
        Rule[str]("a URL without a query", _is_base).or_none(),
        "The public URL of the gateway, such as `https://api.example.com`. A token that is "
        "restricted to a resource (RFC 8707) must name this URL. Without this setting, such tokens "
        "are refused.",
        check="E042",
        hint="Set it to the URL that callers use, such as https://api.example.com.",
    )
    GATEWAY_MAX_AGE = Setting(
        0,
        rules.whole(0, 300),
        "How many seconds the proxy may cache a decision. A revoked key keeps working for up to "
        "that long. Decisions that depend on addresses, rate limits or signatures are never "
        "cached.",
        check="E043",
        hint="Set a whole number from 0 to 300. A revoked key keeps working for that many seconds.",
    )
    GATEWAY_SIGNED_BODIES = Setting(
        "refuse",
        rules.one_of("refuse", "upstream"),
        "What to do if the proxy does not send the gateway the body of a [signed request]"
        '(../how-to/sign-requests.md#behind-the-gateway): `"refuse"` the request, or let the '
        '`"upstream"` compare the body with its `Content-Digest`.',
        check="E046",
        hint="Set it to 'upstream' only if the upstream compares Content-Digest itself.",
    )
    GATEWAY_UPSTREAM = Setting(
        None,
        Rule[str]("a URL without a path", _is_upstream).or_none(),
        "The server behind [the proxy in Python](gateway.md#without-a-proxy).",
        check="E044",
        hint="Set it to, for example, http://127.0.0.1:9000.",
    )
    GATEWAY_TIMEOUT = Setting(
        30,
        rules.SECONDS,
        "How long the proxy in Python waits to open a connection and to receive or send the next "
        "bytes.",
        check="E045",
    )
    GATEWAY_MAX_BODY = Setting(
        10_485_760,
        rules.whole(1),
        "The largest request body, in bytes, that the proxy in Python forwards.",
        check="E045",
    )
    GATEWAY_MAX_CONNECTIONS = Setting(
        100,
        rules.whole(1),
        "The maximum number of connections to the upstream for each process of the proxy in "
        "Python.",
        check="E045",
    )


gateway_settings: Final = GatewaySettings()
