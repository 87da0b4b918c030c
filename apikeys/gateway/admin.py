from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from .models import ResourceBinding, Route


@admin.register(ResourceBinding)
class ResourceBindingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A million rows: no count of all of them, and searching is by what has an index."""

    list_display = ["kind", "identifier", "user", "project", "created_at"]
    list_select_related = ["user", "project"]
    show_full_result_count = False
    raw_id_fields = ["user", "project"]
    readonly_fields = ["created_at"]
    search_fields = ["identifier__startswith"]
    search_help_text = _("The start of the identifier, or a whole username or slug.")

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        found, duplicates = super().get_search_results(request, queryset, search_term)
        if search_term:
            username = self.model._meta.get_field("user").related_model.USERNAME_FIELD
            found |= queryset.filter(**{f"user__{username}": search_term})
            found |= queryset.filter(project__slug=search_term)
        return found, duplicates


@admin.register(Route)
class RouteAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["path", "method", "scope", "bindings", "is_active"]
    list_filter = ["is_active"]
    search_fields = ["path"]
