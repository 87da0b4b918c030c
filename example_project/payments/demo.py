"""The demo's published password. Only the demo accepts it."""

from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

PASSWORD = "demo-password"


class DemoBackend(ModelBackend):
    """Log users in as Django does, but refuse the published password unless ``settings.DEMO``."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:
        if password == PASSWORD and not settings.DEMO:
            return None
        return super().authenticate(request, username, password, **kwargs)
