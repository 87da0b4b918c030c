"""The audit log, to read: nobody adds, changes or deletes an event here."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from ..models import AuditEvent
from .lists import ListAdmin


@admin.register(AuditEvent)
class AuditEventAdmin(ListAdmin):
    """The audit log: read, and never written here."""

    list_display = ("at", "event", "public_id", "name", "owner", "by", "using", "ip")
    list_filter = ("event",)
    ordering = ("-pk",)
    sortable_by = ()
    fields = (
        "at", "event", "kind", "public_id", "name", "owner", "by", "using", "ip", "changes",
    )  # fmt: skip
    search_fields = ("public_id",)  # shows the box
    search_help_text = gettext_lazy("The beginning of a key's id.")
    begins = ("public_id",)
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
