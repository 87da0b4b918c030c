"""Serve the pages of the example: `/`, whose script calls the API, the login and the API docs."""

from typing import Any, Final

from django.conf import settings
from django.contrib.auth.views import LoginView
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.generic import TemplateView
from drf_spectacular.views import SpectacularSwaggerSplitView

from . import seed
from .demo import PASSWORD

# Set by hand, because Django 5.2 has no middleware for it.
_POLICY: Final = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
CONTENT_SECURITY_POLICY: Final = f"{_POLICY}; require-trusted-types-for 'script'"
#: Swagger UI has pictures in its style sheet.
API_DOCS_POLICY: Final = f"{_POLICY}; img-src 'self' data:"


def demo() -> dict[str, Any] | None:
    """Return the users whose password is published, or ``None`` outside of the demo."""
    if not settings.DEMO:
        return None
    people = [{"username": person.username, "words": _role(person)} for person in seed.PEOPLE]
    return {"people": people, "password": PASSWORD}


def _role(person: seed.Person) -> str:
    if person.project is None:
        return f"{person.role}, for the admin"
    return f"{person.role} of {seed.PROJECTS[person.project]}"


@method_decorator((never_cache, ensure_csrf_cookie), name="dispatch")
class Page(TemplateView):
    template_name = "payments/page.html"
    http_method_names = ["get", "head", "options"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = super().dispatch(request, *args, **kwargs)
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(client_id=seed.CLIENT_ID, demo=demo(), **kwargs)


class Login(LoginView):
    """The one login of the site, also of the admin."""

    template_name = "payments/login.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(demo=demo(), **kwargs)


class ApiDocs(SpectacularSwaggerSplitView):
    """The OpenAPI document for people, with all files from this server."""

    template_name = "payments/api.html"
    template_name_js = "payments/api.js"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        response.headers["Content-Security-Policy"] = API_DOCS_POLICY
        return response
