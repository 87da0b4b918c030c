"""The read-only list of audit events."""

from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import token
from ..keys.event_queries import keys_first
from ..keys.queries import FEW
from ..models import AuditEvent
from .lists import ListAdmin, name_and_id
from .sites import manages

_SHORTEST: Final = 4  # characters of an ID in a search


@manages(AuditEvent)
class AuditEventAdmin(ListAdmin):
    """View audit events. They cannot be added, changed or deleted here."""

    list_display = ("at", "label", "title", "owner", "acting", "ip")
    list_filter = ("event",)
    ordering = ("-pk",)
    sortable_by = ()
    fields = (
        "at", "label", "kind", "public_id", "name", "owner", "by", "using", "ip", "changes",
    )  # fmt: skip
    search_fields = ("public_id",)  # makes Django show the search box
    search_help_text = gettext_lazy("Search by the start of a key's ID.")
    actions = None

    @admin.display(description=gettext_lazy("event"))
    def label(self, event: AuditEvent) -> str:
        """Show what happened. A decision about a request has its own word."""
        return str(event.label())

    @admin.display(description=gettext_lazy("name"))
    def title(self, event: AuditEvent) -> str:
        """Show the name and the ID, so that a row fits on a small screen."""
        return name_and_id(event)

    @admin.display(description=gettext_lazy("by"))
    def acting(self, event: AuditEvent) -> str:
        """Show who did it, and below it with which credential."""
        return format_html("{}<small>{}</small>", event.by or "-", event.using)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return keys_first(super().get_queryset(request))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = token.without_prefix(search_term)
        if not term:
            return queryset, False
        is_start = term.isascii() and term.isalnum() and len(term) <= token.ID_LENGTH
        if not is_start:
            return queryset.none(), False
        if len(term) < _SHORTEST:  # it may match a million events
            message = _("Enter at least %(number)d characters of the ID.") % {"number": _SHORTEST}
            self.message_user(request, message, messages.WARNING, fail_silently=True)
            return queryset.none(), False
        # PostgreSQL uses the index for a range, but for LIKE only with the collation C.
        found = Q(public_id__gte=term, public_id__lte=term.ljust(token.ID_LENGTH, "z"))
        # Without the filters of the list, so that no database chooses an index of theirs.
        rows = AuditEvent.objects.filter(found).order_by()
        pks = list(rows.values_list("pk", flat=True)[: FEW + 1])
        return queryset.filter(Q(pk__in=pks) if len(pks) <= FEW else found), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
