import re
import time
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import View
from oauth2_provider import views
from oauthlib.oauth2 import OAuth2Error

from ... import refusals
from ...conf import app_settings
from ...http import outages, shared_caches
from ...http.hidden import hidden
from ...limits import networks
from ...refusals import Refusal
from ..http import is_text


def _for_one_client(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Keep responses out of shared caches, even if the credential is in the request's body."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        shared_caches.protect(request.META, response)
        shared_caches.make_private(response)
        return response

    return wrapped


def addressed(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Record the client's address in audit events."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with networks.asked_from(request):
            return view(request, *args, **kwargs)

    return wrapped


def _unavailable(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    return error_response("temporarily_unavailable", str(refusal.message), refusal.status)


_outages = outages.answered(_unavailable)

#: Decorators of endpoints for clients without cookies. ``hidden`` keeps secrets out of error
#: reports.
ENDPOINT = (csrf_exempt, login_not_required, hidden, _for_one_client, _outages, addressed)

#: Parameters of the token endpoint that may be repeated (RFC 8707, RFC 8693, login_tokens).
_REPEATABLE = {"resource", "audience", "project"}

_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)


class Readable(View):
    """Refuse requests that oauthlib cannot parse or a database cannot store."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not _is_readable(request):
            return self.unreadable("The request contains a NUL or invalid percent-encoding.")
        response: HttpResponse = super().dispatch(request, *args, **kwargs)  # type: ignore[assignment]
        return response

    def unreadable(self, description: str) -> HttpResponse:
        """Return the response to an unreadable request."""
        return error_response("invalid_request", description)


def _is_readable(request: HttpRequest) -> bool:
    if _NO_ESCAPE.search(request.META.get("QUERY_STRING", "")):
        return False
    return all(
        is_text(name) and (name == "token" or all(map(is_text, values)))
        for form in (request.GET, request.POST)
        for name, values in form.lists()
        # Accept any text as a token: it is looked up by checksum, so it is just unknown.
    )


@cache
def _keeping_repeated(backend: Any) -> Any:
    """Return ``backend``, which drops all but the last value, for ``_REPEATABLE``."""

    class Backend(backend):
        def extract_body(self, request: HttpRequest) -> Any:
            kept = [(name, request.POST.getlist(name)) for name in _REPEATABLE]
            repeated = {name: values for name, values in kept if len(values) > 1}
            body = super().extract_body(request)
            if not repeated:
                return body
            others = [(name, value) for name, value in body if name not in repeated]
            return others + [(name, each) for name, found in repeated.items() for each in found]

    return Backend


class TokenView(Readable, views.TokenView):
    """The token endpoint (RFC 6749 section 3.2), stricter than DOT's view."""

    @classmethod
    def get_oauthlib_backend_class(cls) -> Any:
        return _keeping_repeated(super().get_oauthlib_backend_class())

    @method_decorator(ENDPOINT)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().dispatch(request, *args, **kwargs)
        return finished(request, response)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if repeated := sorted(
            name
            for name, values in request.POST.lists()
            if len(values) > 1 and name not in _REPEATABLE
        ):
            # Section 3.2: parameters MUST NOT be included more than once.
            names = ", ".join(repeated)
            return error_response("invalid_request", f"Parameters are repeated: {names}.")
        # Skip DOT's post(): it handles a device code before the client is authenticated.
        response: HttpResponse = self.authorization_flow_token_response(request)
        # DOT omits both headers on some errors.
        response["Content-Type"] = "application/json"
        response["Cache-Control"] = "no-store"
        return response


def error_response(error: str, description: str, status: int = 400) -> JsonResponse:
    """Return an error response (RFC 6749 section 5.2)."""
    description = description.replace("…", "...")
    clean = "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in description)
    return JsonResponse(
        {"error": error, "error_description": clean},
        status=status,
        headers={"Cache-Control": "no-store", "Pragma": "no-cache"},
    )


def too_many(description: str, window: int) -> HttpResponse:
    """Refuse a request until the current window of ``window`` seconds ends."""
    response = error_response("too_many_requests", description, 429)
    response["Retry-After"] = str(window - int(time.time()) % window)
    return response


def answer(error: OAuth2Error) -> JsonResponse:
    """Return the response for an ``error`` that a view of this app raised."""
    response = error_response(error.error, error.description or "", error.status_code)
    for name, value in error.headers.items():
        response[name] = value
    return response


def finished(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Return the response of an endpoint with the headers that its status and body need."""
    if not response.streaming and not response.content:
        # Remove Django's default of text/html from an empty response.
        del response["Content-Type"]
    if response.status_code == 503:  # oauthlib sends no Retry-After
        response.setdefault("Retry-After", str(refusals.TEMPORARILY_UNAVAILABLE.retry_after))
    # A 401 to a client that used HTTP Basic names that scheme (RFC 6749 section 5.2).
    scheme = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")[0]
    if response.status_code == 401 and scheme.lower() == "basic":
        response["WWW-Authenticate"] = f'Basic realm="{app_settings.REALM}", charset="UTF-8"'
    return response
