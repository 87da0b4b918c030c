from typing import Any

from django.utils.translation import gettext_lazy as _

from ..admin.lists import ListAdmin
from ..admin.sites import manages
from .models import Denial, Identity


@manages(Identity)
class IdentityAdmin(ListAdmin):
    list_display = ("subject", "issuer", "user", "created_at")
    list_select_related = ("user",)
    ordering = ("-created_at",)
    sortable_by = ()
    raw_id_fields = ("user",)
    readonly_fields = ("created_at",)
    search_fields = ("subject",)
    search_help_text = _("Searches the start of a subject or username.")
    begins = ("subject",)
    related = {"user": ""}

    def get_readonly_fields(self, request: Any, obj: Any = None) -> Any:
        # The primary key is computed from both.
        return ("issuer", "subject", *self.readonly_fields) if obj else self.readonly_fields


@manages(Denial)
class DenialAdmin(ListAdmin):
    list_display = ("what", "value", "issuer", "created_at", "reason")
    ordering = ("-created_at",)
    sortable_by = ()
    readonly_fields = ("created_at",)
    search_fields = ("value",)
    search_help_text = _("Searches the start of a value.")
    begins = ("value",)

    def get_readonly_fields(self, request: Any, obj: Any = None) -> Any:
        return ("issuer", "what", "value", *self.readonly_fields) if obj else self.readonly_fields
