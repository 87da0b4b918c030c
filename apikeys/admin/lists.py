"""Lists that stay fast at a million rows and refuse secrets in their URLs."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import admin, messages
from django.contrib.admin.widgets import AutocompleteSelect, AutocompleteSelectMultiple
from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.db import connections, router
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from .. import token
from ..databases.lists import for_list, note_change
from ..databases.primary import reading_primary
from ..keys import queries
from .theme import THEME, ChangeList, ModelAdmin

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

#: The most rows that a list counts. Beyond it, the page says that there are more.
MOST_COUNTED: Final = 10_000
_MOST_RELATED = 1000  # matching users or projects that one search considers
_LAST_LETTER = chr(0x10FFFF)


def name_and_id(row: Any) -> str:
    """Return the name of a key or an event, and the ID below it, so that rows fit on a screen."""
    return format_html(
        '<span class="apikeys-name" title="{}">{}</span><code>{}</code>',
        row.name,
        row.name,
        row.public_id,
    )


class BoundedPaginator(_Paginator):
    """Stop counting at ``limit`` rows, because a full count reads all rows.

    Reuse the number that a filter or a search of ``keys.queries`` has already counted.
    """

    @cached_property
    def _known(self) -> int | None:
        return queries.known(self._rows)

    @property
    def _rows(self) -> QuerySet[Any]:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows

    @property
    def limit(self) -> int:
        return MOST_COUNTED if self._known is None else queries.FEW

    @cached_property
    def _counted(self) -> int:
        if self._known is not None:
            return self._known
        return self._rows.order_by()[: self.limit + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._counted, self.limit)

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than ``count``."""
        return self._counted > self.limit


class BoundedChangeList(ChangeList):
    """Sort by the columns of ``sortable_by`` only, and fetch related rows in separate queries.

    For other columns, Django hides the link but still obeys the query string. If there are few
    related rows, MariaDB would start a join with them, and then sort all rows for one page.
    """

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        self.root_queryset = for_list(self.root_queryset, request)
        return super().get_queryset(request, *args, **kwargs)

    def apply_select_related(self, qs: QuerySet[Any]) -> QuerySet[Any]:
        related: Any = self.list_select_related or ()
        return qs.prefetch_related(*related)

    def get_ordering_field(self, field_name: Any) -> Any:
        return (
            super().get_ordering_field(field_name)
            if field_name in (self.sortable_by or ())
            else None
        )


class ListAdmin(ModelAdmin):
    """Base class of the lists: bounded counts and select boxes, and searches that use indexes.

    A search compares the start of each field in ``begins``. ``related`` maps a relation to the
    searched field of its model. An empty name is the user model's ``USERNAME_FIELD``. Each
    searched field needs an index.
    """

    begins: ClassVar[Sequence[str]] = ()
    related: ClassVar[Mapping[str, str]] = {}
    theme = THEME
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50

    def get_urls(self) -> list[URLPattern]:
        urls: list[URLPattern] = super().get_urls()
        for pattern in urls:
            pattern.callback = _of_ours(pattern.callback)
        return urls

    def own_view(self, view: Any) -> Any:
        """Return ``view``, a page that a subclass adds to ``get_urls``, as Django's are wrapped."""
        return _of_ours(self.admin_site.admin_view(view))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return self.without_secret(request) or super().changelist_view(request, extra_context)

    def without_secret(self, request: HttpRequest) -> HttpResponse | None:
        """Return a redirect away from a query string that contains a secret. Else ``None``."""
        if not _gives_away_a_secret(request):
            return None
        message = _(
            "You entered a key or its secret, so nothing was searched. The text is "
            "now in your browser's history and in the server's log. Rotate that key. "
            "To look up a key by its whole text, use “Find by whole key”."
        )
        self.message_user(request, message, messages.ERROR)
        return HttpResponseRedirect(request.path)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        # By default, anyone who can view the list may filter by any field and lookup. That would
        # reveal a hash, one letter at a time.
        field, _sep, rest = lookup.partition("__")
        if field in self.related:
            return rest in ("", "exact", "id__exact", "pk__exact")
        filters = [getattr(each, "parameter_name", each) for each in self.list_filter]
        return field in filters and rest in ("", "exact")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = " ".join(search_term.split())
        if term:
            queryset = queries.matching(queryset, list(self.matches(term)))
        return queryset, False

    def matches(self, term: str) -> Iterator[Q]:
        """Yield the conditions of a search for ``term``. A row matches if one of them is true.

        Each condition needs an index.
        """
        for field in self.begins:
            is_id = field == "public_id"
            yield begins(self.model, field, token.without_prefix(term) if is_id else term)
        for relation, field in self.related.items():
            model = self.model._meta.get_field(relation).related_model
            field = field or get_user_model().USERNAME_FIELD
            with_row = self.model._default_manager.filter(**{relation: OuterRef("pk")})
            if pks := pks_beginning(model, field, term, with_row):
                yield Q(**{f"{relation}__in": pks})

    def get_autocomplete_fields(self, request: HttpRequest) -> list[str]:
        """Return the fields of ``raw_id_fields`` whose model has a searchable admin."""
        registry = self.admin_site._registry
        return [
            name
            for name in self.raw_id_fields
            if (related := registry.get(self.model._meta.get_field(name).related_model))
            and related.get_search_fields(request)
        ]

    def url(self, view: str, *args: Any) -> str:
        """Return the URL of one of this model's pages in this admin."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{view}"
        return reverse(name, args=args, current_app=self.admin_site.name)

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs.setdefault("widget", AutocompleteSelect(db_field, self.admin_site))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        # django-unfold would use `raw_id_fields` otherwise.
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs.setdefault("widget", AutocompleteSelectMultiple(db_field, self.admin_site))
        return super().formfield_for_manytomany(db_field, request, **kwargs)


def begins(model: Any, field: str, term: str) -> Q:
    """Return a condition for rows whose ``field`` begins with ``term``. It uses an index.

    Match ``term`` as typed, in lower case, in upper case and capitalized.
    """
    lookup = {"mysql": "istartswith"}.get(_vendor(model), "startswith")
    found = Q()
    for text in sorted({term, term.lower(), term.upper(), term.capitalize()}):
        if _vendor(model) == "sqlite":  # its LIKE ignores case, so it cannot use the index
            found |= Q(**{f"{field}__gte": text, f"{field}__lt": text + _LAST_LETTER})
        else:
            found |= Q(**{f"{field}__{lookup}": text})
    return found


def pks_beginning(model: Any, field: str, term: str, with_row: QuerySet[Any]) -> list[Any]:
    """Return the primary keys of the rows whose ``field`` begins with ``term``.

    Include only rows to which a row of ``with_row`` refers, and no more than 1000.
    """
    # A subquery looks up one row at a time. MariaDB may turn EXISTS into a join that reads all
    # keys first.
    rows = model._default_manager.filter(begins(model, field, term))
    rows = rows.alias(listed=Subquery(with_row.order_by().values("pk")[:1]))
    found = rows.exclude(listed=None).order_by(field)
    return list(found.values_list("pk", flat=True)[:_MOST_RELATED])


def _vendor(model: Any) -> str:
    return connections[router.db_for_write(model)].vendor


def _of_ours(view: Any) -> Any:
    """Return a view of the admin that reads the primary and notes a change."""

    @wraps(view)
    @reading_primary()
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        note_change(request)
        return view(request, *args, **kwargs)

    return wrapped


@sensitive_variables()
def _gives_away_a_secret(request: HttpRequest) -> bool:
    texts = [text for name, values in request.GET.lists() for text in (name, *values)]
    return any(map(token.holds_secret, texts))
