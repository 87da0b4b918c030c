from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from ..admin.lists import ListAdmin
from .models import ResourceBinding, Route


@admin.register(ResourceBinding)
class ResourceBindingAdmin(ListAdmin):
    list_display = ("kind", "identifier", "user", "project", "created_at")
    list_select_related = ("user", "project")
    ordering = ("-pk",)
    sortable_by = ()
    raw_id_fields = ("user", "project")
    readonly_fields = ("created_at",)
    search_fields = ("identifier",)
    search_help_text = _("The beginning of an identifier, a username or a project's slug.")
    begins = ("identifier",)
    related = {"user": "", "project": "slug"}


@admin.register(Route)
class RouteAdmin(ListAdmin):
    list_display = ("path", "method", "scope", "bindings", "is_active")
    ordering = ("path", "method", "pk")
    sortable_by = ()
    list_filter = ("is_active",)
    search_fields = ("path",)
    search_help_text = _("The beginning of a path.")
    begins = ("path",)
