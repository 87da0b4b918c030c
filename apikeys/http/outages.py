"""Answer 503 during an outage, in the format of the view."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from ..databases import unavailable
from ..refusals import Refusal

V = TypeVar("V", bound=Callable[..., Any])


def answered(respond: Callable[[HttpRequest, Refusal], HttpResponse]) -> Callable[[V], V]:
    """Decorate a view so that ``respond`` builds its response during an outage.

    Everything that the request wrote is rolled back.
    """

    def decorator(view: V) -> V:
        @wraps(view)
        def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            try:
                response = view(request, *args, **kwargs)
                # A template may make queries too.
                if callable(render := getattr(response, "render", None)):
                    response = render()
            except Exception as error:
                if (refusal := unavailable.refusal(error)) is None:
                    raise
                unavailable.roll_back()
                response = _finished(respond(request, refusal), refusal)
            return response

        return cast("V", wrapper)

    return decorator


def page(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """Return a page that needs no database, user or session."""
    text = render_to_string("apikeys/unavailable.html", {"message": refusal.message})
    return HttpResponse(text, status=refusal.status)


def unavailable_page(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """Return the complete response of a view that is decorated with ``answered(page)``."""
    return _finished(page(request, refusal), refusal)


def _finished(response: HttpResponse, refusal: Refusal) -> HttpResponse:
    response["Retry-After"] = str(refusal.retry_after)
    response["Cache-Control"] = "no-store, private"
    return response
