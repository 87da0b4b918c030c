"""Let browsers of other origins send the headers of credentials, by django-cors-headers."""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.signals import setting_changed

from ..legacy import schemes


def start(*, setting: str = "APIKEYS", **kwargs: Any) -> None:
    """Add ``HEADERS`` and the headers of ``LEGACY`` to ``CORS_ALLOW_HEADERS``.

    Which origins may send them is up to the site. Does nothing without django-cors-headers.
    """
    if setting != "APIKEYS" or not apps.is_installed("corsheaders"):
        return
    from corsheaders.defaults import default_headers

    allowed = getattr(settings, "CORS_ALLOW_HEADERS", default_headers)
    known = {name.lower() for name in allowed}
    if missing := [name for name in _headers() if name.lower() not in known]:
        settings.CORS_ALLOW_HEADERS = (*allowed, *missing)


def _headers() -> list[str]:
    try:
        return schemes.headers()
    except (TypeError, ValueError):  # reported by a system check
        return []


setting_changed.connect(start, dispatch_uid="apikeys.http.cors")
