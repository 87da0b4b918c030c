"""Set the security headers of the pages: no caching, no framing, no foreign scripts."""

from typing import Final
from urllib.parse import urlsplit

from django.http import HttpResponse
from django.templatetags.static import static

from ..conf import app_settings

_REST: Final = "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


def guard(response: HttpResponse, *, restricts_forms: bool = True) -> HttpResponse:
    """Set the headers of ``response``, with the policy of ``PAGES_CSP``.

    Pass ``restricts_forms=False`` for a form that leads to another site: browsers apply
    ``form-action`` to redirects too.
    """
    if (policy := _policy()) is not None:
        directives = policy.split(";")
        if not restricts_forms:
            directives = [each for each in directives if each.split()[:1] != ["form-action"]]
        response["Content-Security-Policy"] = ";".join(directives)
    # A policy may say nothing about frames.
    response.setdefault("X-Frame-Options", "DENY")
    response["Cache-Control"] = "no-store, private"
    response["Referrer-Policy"] = "same-origin"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _policy() -> str | None:
    if app_settings.PAGES_CSP != "strict":
        return app_settings.PAGES_CSP
    own = "'self'"
    assets = urlsplit(static("apikeys/pages.css"))
    if assets.netloc:  # static files are served from another host
        own += f" {assets.scheme or 'https'}://{assets.netloc}"
    return f"default-src {own}; {_REST}"
