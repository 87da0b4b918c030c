"""Search and page through the lists of clients and applications."""

from dataclasses import dataclass
from typing import Any, Final

from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.http import urlencode

_SIZE: Final = 20
_LONGEST: Final = 100


@dataclass(frozen=True)
class Page:
    rows: list[Any]
    #: The query strings of the pages beside this one; empty without one.
    previous: str
    next: str


def words_of(request: HttpRequest) -> str:
    """Return what the user searches for: the parameter ``q``."""
    return request.GET.get("q", "").replace("\0", "")[:_LONGEST].strip()


def page_of(request: HttpRequest, rows: Any) -> Page:
    """Return the page of ``rows``, a list or an ordered queryset, that the request asks for.

    The parameter ``page`` is its number. A number without a page means the last one.
    """
    page = Paginator(rows, _SIZE).get_page(request.GET.get("page"))
    words = words_of(request)

    def query(number: int) -> str:
        return "?" + urlencode(({"q": words} if words else {}) | {"page": number})

    return Page(
        list(page),
        query(page.previous_page_number()) if page.has_previous() else "",
        query(page.next_page_number()) if page.has_next() else "",
    )
