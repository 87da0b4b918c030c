"""Lists that stay quick at a million rows, and that no secret gets into."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.widgets import AutocompleteSelect, AutocompleteSelectMultiple
from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.db import connections, router
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from .. import states, token
from .theme import THEME, ChangeList, ModelAdmin

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

_MOST_RELATED = 1000  # people or projects whose names begin alike, in one search
_LAST_LETTER = chr(0x10FFFF)


class BoundedPaginator(_Paginator):
    """Counts no further than ``limit``: to count all rows is to read all rows.

    And no rows that a filter or a search has just counted, or found to be many: to count on is
    to read past all that are not.
    """

    @cached_property
    def _known(self) -> int | None:
        return states.known(self._rows)

    @property
    def _rows(self) -> QuerySet[Any]:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows

    @property
    def limit(self) -> int:
        return 10_000 if self._known is None else states.FEW

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
        """Whether there are more than ``count``."""
        return self._counted > self.limit


class BoundedChangeList(ChangeList):
    """Sorts by nothing but ``sortable_by``: Django leaves out the link, and still does as asked.

    And looks up related rows by themselves. Where they are few, MariaDB would begin a join with
    them, and sort all rows for a page.
    """

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
    """No full COUNT, no unbounded select box, no substring search; each search uses indexes.

    ``begins`` are the fields that a search compares the beginning of, ``related`` those of
    related models by relation. All of them need an index.
    """

    begins: ClassVar[Sequence[str]] = ()
    related: ClassVar[Mapping[str, str]] = {}
    theme = THEME
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if _gives_away_a_secret(request):
            self.message_user(
                request,
                _(
                    "That was a key, or its secret. It was not searched for. As part of an "
                    "address it is now in your browser's history and in the server's log: "
                    "rotate that key. To find a key by its whole text use “Find by whole key”."
                ),
                messages.ERROR,
            )
            return HttpResponseRedirect(request.path)
        return super().changelist_view(request, extra_context)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        # Django lets anybody who sees the list filter by any field and lookup, and so guess a
        # hash a letter at a time.
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
            queryset = states.matching(queryset, list(self.matches(term)))
        return queryset, False

    def matches(self, term: str) -> Iterator[Q]:
        """What a row may meet to be found, an index to each."""
        for field in self.begins:
            yield begins(self.model, field, term)
        for relation, field in self.related.items():
            model = self.model._meta.get_field(relation).related_model
            field = field or get_user_model().USERNAME_FIELD
            if pks := pks_beginning(model, field, term):
                yield Q(**{f"{relation}__in": pks})

    def get_autocomplete_fields(self, request: HttpRequest) -> list[str]:
        """Those of ``raw_id_fields`` whose model's own admin has a search to answer with."""
        registry = self.admin_site._registry
        return [
            name
            for name in self.raw_id_fields
            if (related := registry.get(self.model._meta.get_field(name).related_model))
            and related.get_search_fields(request)
        ]

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs.setdefault("widget", AutocompleteSelect(db_field, self.admin_site))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        # django-unfold would look at `raw_id_fields` first.
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs.setdefault("widget", AutocompleteSelectMultiple(db_field, self.admin_site))
        return super().formfield_for_manytomany(db_field, request, **kwargs)


def begins(model: Any, field: str, term: str) -> Q:
    """Rows whose ``field`` begins with ``term``, as typed or in another case, by its index."""
    lookup = {"mysql": "istartswith"}.get(_vendor(model), "startswith")
    found = Q()
    for text in sorted({term, term.lower(), term.upper(), term.capitalize()}):
        if _vendor(model) == "sqlite":  # its LIKE ignores case, and so the index
            found |= Q(**{f"{field}__gte": text, f"{field}__lt": text + _LAST_LETTER})
        else:
            found |= Q(**{f"{field}__{lookup}": text})
    return found


def pks_beginning(model: Any, field: str, term: str) -> list[Any]:
    rows = model._default_manager.filter(begins(model, field, term))
    return list(rows.order_by(field).values_list("pk", flat=True)[:_MOST_RELATED])


def _vendor(model: Any) -> str:
    return connections[router.db_for_read(model)].vendor


@sensitive_variables()
def _gives_away_a_secret(request: HttpRequest) -> bool:
    texts = [text for name, values in request.GET.lists() for text in (name, *values)]
    return any(map(token.holds_secret, texts))
