"""System checks of the gateway's settings and routes."""

import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.http.request import validate_host
from django.urls import NoReverseMatch, reverse

from .. import scopes
from ..conf.documentation import page
from ..conf.rules import is_url
from .conf import GatewaySettings, gateway_settings
from .rules import Rule


@register("apikeys")
def check_gateway(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    return [*GatewaySettings.errors(), *_routes(), *_asked()]


def _routes() -> Iterator[CheckMessage]:
    if GatewaySettings.GATEWAY_ROUTES.error():
        return
    for declared in gateway_settings.GATEWAY_ROUTES:
        try:
            route = Rule.declared(declared)
        except ValueError as error:
            yield Error(
                f"APIKEYS['GATEWAY_ROUTES'] has {declared!r}, which is not a route.",
                hint=f"Correct the route. {error} See {page('reference/gateway', 'routes')}",
                id=GatewaySettings.GATEWAY_ROUTES.check,
            )
            continue
        if unknown := scopes.unknown(route.scopes):
            yield Warning(
                f"APIKEYS['GATEWAY_ROUTES'] requires the scope {', '.join(unknown)} for "
                f"{route.path.text}, which APIKEYS['SCOPES'] does not declare.",
                hint="Declare the scope or correct its name.",
                id="apikeys.W040",
            )


def _asked() -> Iterator[CheckMessage]:
    """Warn about settings that make Django redirect the proxy or refuse its host."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return
    try:
        path = reverse("apikeys-gateway-authorize").lstrip("/")
    except NoReverseMatch:  # the proxy in Python does not use the endpoint
        return
    exempt = any(re.search(pattern, path) for pattern in settings.SECURE_REDIRECT_EXEMPT)
    if (
        "django.middleware.security.SecurityMiddleware" in settings.MIDDLEWARE
        and settings.SECURE_SSL_REDIRECT
        and not (settings.SECURE_PROXY_SSL_HEADER or exempt)
    ):
        yield Warning(
            "SECURE_SSL_REDIRECT redirects the proxy when it calls the gateway, so every request "
            "fails.",
            hint="Set SECURE_PROXY_SSL_HEADER and configure the proxy to send that header, or "
            f"add r'^{path.removesuffix('authorize/')}(authorize|preflight)/' to "
            "SECURE_REDIRECT_EXEMPT.",
            id="apikeys.W041",
        )
    host = _host(gateway_settings.GATEWAY_URL)
    allowed = settings.ALLOWED_HOSTS or ([".localhost", "127.0.0.1", "[::1]"] * settings.DEBUG)
    if host and gateway_settings.GATEWAY_PROXY != "traefik" and not validate_host(host, allowed):
        yield Warning(
            f"ALLOWED_HOSTS does not contain {host!r}, the host of APIKEYS['GATEWAY_URL'].",
            hint="Add the host, unless the proxy calls the gateway under another host name.",
            id="apikeys.W042",
        )
    common = "django.middleware.common.CommonMiddleware" in settings.MIDDLEWARE
    if common and settings.PREPEND_WWW and not host.startswith("www."):
        yield Warning(
            "PREPEND_WWW redirects the proxy when it calls the gateway, so every request fails.",
            hint="Configure the proxy to call a host that begins with www.",
            id="apikeys.W043",
        )


def _host(url: Any) -> str:
    """Return the host of a URL in the form of ``ALLOWED_HOSTS``; empty without a host."""
    parts = urlsplit(url) if is_url(url) else None
    host = (parts and parts.hostname) or ""
    return f"[{host}]" if ":" in host else host
