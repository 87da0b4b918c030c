"""System checks: what the gateway's settings say is possible, and no route is open by mistake."""

import re
from collections.abc import Iterator, Sequence
from math import inf
from threading import TIMEOUT_MAX
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register

from .. import scopes
from ..checks import is_url
from ..conf import app_settings
from .original import PROXIES
from .routes import Route

MOST_SECONDS = 300


@register("apikeys")
def check_gateway(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    return [
        message
        for check in (_proxy, _routes, _url, _upstream, _numbers, _max_age, _signed_bodies)
        for message in check()
    ]


def _proxy() -> Iterator[CheckMessage]:
    proxy: Any = app_settings.GATEWAY_PROXY
    if not isinstance(proxy, str) or proxy not in PROXIES:
        yield Error(
            f"APIKEYS['GATEWAY_PROXY'] is {proxy!r}.",
            hint=f"It takes {', '.join(PROXIES)}.",
            id="apikeys.E040",
        )


def _routes() -> Iterator[CheckMessage]:
    given: Any = app_settings.GATEWAY_ROUTES
    if not isinstance(given, list | tuple):
        yield Error(
            "APIKEYS['GATEWAY_ROUTES'] is not a list.",
            hint='Say [{"method": "GET", "path": "/offers/{id}", "scopes": ["offers:read"]}].',
            id="apikeys.E041",
        )
        return
    for declared in given:
        try:
            route = Route.of(declared)
        except ValueError as error:
            yield Error(
                f"APIKEYS['GATEWAY_ROUTES'] has {declared!r}, which is no route.",
                hint=str(error),
                id="apikeys.E041",
            )
            continue
        if unknown := scopes.unknown(route.scopes):
            yield Warning(
                f"APIKEYS['GATEWAY_ROUTES'] requires the scope {', '.join(unknown)} for "
                f"{route.path.text}, which APIKEYS['SCOPES'] does not declare.",
                hint="Declare it, or mend the name.",
                id="apikeys.W040",
            )


def _url() -> Iterator[CheckMessage]:
    url: Any = app_settings.GATEWAY_URL
    if url is None:
        return
    if not is_url(url) or urlsplit(url).query or urlsplit(url).fragment:
        yield Error(
            f"APIKEYS['GATEWAY_URL'] is {url!r}.",
            hint="It takes the URL that callers use, such as https://api.example.com, or None.",
            id="apikeys.E042",
        )


def _upstream() -> Iterator[CheckMessage]:
    url: Any = app_settings.GATEWAY_UPSTREAM
    if url is None:
        return
    if not is_url(url) or not re.fullmatch(r"https?://[^/?#@\s]+/?", url):
        yield Error(
            f"APIKEYS['GATEWAY_UPSTREAM'] is {url!r}.",
            hint="It takes a URL without a path, such as http://127.0.0.1:9000, or None.",
            id="apikeys.E044",
        )


def _numbers() -> Iterator[CheckMessage]:
    for name, kinds, most in (
        ("GATEWAY_TIMEOUT", (int, float), TIMEOUT_MAX),
        ("GATEWAY_MAX_BODY", (int,), inf),
        ("GATEWAY_MAX_CONNECTIONS", (int,), inf),
    ):
        number: Any = getattr(app_settings, name)
        if not (type(number) in kinds and 0 < number <= most):
            yield Error(
                f"APIKEYS[{name!r}] is {number!r}.",
                hint="It takes a number, more than 0.",
                id="apikeys.E045",
            )


def _max_age() -> Iterator[CheckMessage]:
    seconds: Any = app_settings.GATEWAY_MAX_AGE
    if not (type(seconds) is int and 0 <= seconds <= MOST_SECONDS):
        yield Error(
            f"APIKEYS['GATEWAY_MAX_AGE'] is {seconds!r}.",
            hint=f"It takes whole seconds, 0 to {MOST_SECONDS}: so long a revoked key lives on.",
            id="apikeys.E043",
        )


def _signed_bodies() -> Iterator[CheckMessage]:
    who: Any = app_settings.GATEWAY_SIGNED_BODIES
    if who not in ("refuse", "upstream"):
        yield Error(
            f"APIKEYS['GATEWAY_SIGNED_BODIES'] is {who!r}.",
            hint="It takes 'refuse', or 'upstream' if that compares Content-Digest itself.",
            id="apikeys.E046",
        )
