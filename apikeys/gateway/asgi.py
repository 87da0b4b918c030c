"""For ASGI servers: ``uvicorn --factory apikeys.gateway.asgi:get_application``."""

from typing import Any

import django

__all__ = ["get_application"]


def get_application() -> Any:
    """The reverse proxy of ``apikeys.gateway.proxy``, with Django set up."""
    django.setup(set_prefix=False)
    from .proxy import ReverseProxy

    return ReverseProxy()
