"""The read-only list of audit events."""

from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from ..audit import COLUMNS
from ..models import AuditEvent
from .lists import ListAdmin
from .sites import manages


@manages(AuditEvent)
class AuditEventAdmin(ListAdmin):
    """View audit events. They cannot be added, changed or deleted here."""

    list_display = tuple({"key": "public_id"}.get(name, name) for name in COLUMNS)
    list_filter = ("event",)
    ordering = ("-pk",)
    sortable_by = ()
    fields = (
        "at", "event", "kind", "public_id", "name", "owner", "by", "using", "ip", "changes",
    )  # fmt: skip
    search_fields = ("public_id",)  # makes Django show the search box
    search_help_text = gettext_lazy("Search by the start of a key's ID.")
    begins = ("public_id",)
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
