import re
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import View
from oauth2_provider import views

from ...conf import app_settings
from ..http import is_text

#: What a client without cookies needs, and what its secrets need.
ENDPOINT = (csrf_exempt, login_not_required, sensitive_post_parameters())

#: Parameters of the token endpoint that may be repeated (RFC 8707, RFC 8693).
_REPEATABLE = {"resource", "audience"}

_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)


class Readable(View):
    """Refuses what oauthlib does not read and no database takes, before either sees it."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not _is_readable(request):
            return self.unreadable("The request has a NUL or is not percent-encoded.")
        response: HttpResponse = super().dispatch(request, *args, **kwargs)  # type: ignore[assignment]
        return response

    def unreadable(self, description: str) -> HttpResponse:
        return error_response("invalid_request", description)


def _is_readable(request: HttpRequest) -> bool:
    if _NO_ESCAPE.search(request.META.get("QUERY_STRING", "")):
        return False
    return all(
        is_text(name) and (name == "token" or all(map(is_text, values)))
        for form in (request.GET, request.POST)
        for name, values in form.lists()
        # A token is looked for by its checksum: it is unknown, not malformed.
    )


class TokenView(Readable, views.TokenView):
    """RFC 6749 section 3.2, to the letter where DOT's view is lax."""

    @method_decorator(ENDPOINT)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().dispatch(request, *args, **kwargs)
        return challenged(request, response)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if repeated := sorted(
            name
            for name, values in request.POST.lists()
            if len(values) > 1 and name not in _REPEATABLE
        ):
            # Section 3.2: parameters MUST NOT be included more than once.
            return error_response("invalid_request", f"Repeated: {', '.join(repeated)}.")
        # Not DOT's post(): it takes the device grant apart before the client is known.
        response: HttpResponse = self.authorization_flow_token_response(request)
        # DOT sends neither with an error of its own.
        response["Content-Type"] = "application/json"
        response["Cache-Control"] = "no-store"
        return response


def error_response(error: str, description: str, status: int = 400) -> JsonResponse:
    """An error of RFC 6749 section 5.2."""
    clean = "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in description)
    return JsonResponse(
        {"error": error, "error_description": clean},
        status=status,
        headers={"Cache-Control": "no-store", "Pragma": "no-cache"},
    )


def challenged(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """A 401 answers a client that used HTTP Basic in kind (RFC 6749 section 5.2)."""
    scheme = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")[0]
    if response.status_code == 401 and scheme.lower() == "basic":
        response["WWW-Authenticate"] = f'Basic realm="{app_settings.REALM}", charset="UTF-8"'
    return response
