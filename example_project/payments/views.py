"""Serve the page at `/`. Its script calls the API like any other client."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.generic import TemplateView

from . import seed
from .demo import PASSWORD

# Set by hand, because Django 5.2 has no middleware for it. ``form-action 'none'`` keeps the
# browser from submitting the login form itself, which could put a password into a URL.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'"
)


class Page(TemplateView):
    template_name = "payments/page.html"
    http_method_names = ["get", "head", "options"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = super().dispatch(request, *args, **kwargs)
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        demo = {"people": seed.PEOPLE, "projects": seed.PROJECTS, "password": PASSWORD}
        return super().get_context_data(
            client_id=seed.CLIENT_ID, demo=demo if settings.DEMO else None, **kwargs
        )
