from django.utils.translation import gettext_lazy as _

from ..admin.lists import ListAdmin
from ..admin.sites import manages
from ..conf import slug_field
from .models import ResourceBinding, Route


@manages(ResourceBinding)
class ResourceBindingAdmin(ListAdmin):
    list_display = ("kind", "identifier", "user", "project", "created_at")
    list_select_related = ("user", "project")
    ordering = ("-pk",)
    sortable_by = ()
    raw_id_fields = ("user", "project")
    readonly_fields = ("created_at",)
    search_fields = ("identifier",)
    search_help_text = _("Searches the start of an identifier, username or project slug.")
    begins = ("identifier",)
    related = {"user": "", "project": slug_field()}


@manages(Route)
class RouteAdmin(ListAdmin):
    list_display = ("path", "method", "scope", "bindings", "cors", "is_active")
    ordering = ("path", "method", "pk")
    sortable_by = ()
    list_filter = ("is_active",)
    search_fields = ("path",)
    search_help_text = _("Searches the start of a path.")
    begins = ("path",)
