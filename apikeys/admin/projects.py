"""Projects, unless the site has its own, and who belongs to them."""

from django.contrib import admin
from django.utils.translation import gettext_lazy

from ..models import Membership, Project
from .lists import ListAdmin


class ProjectAdmin(ListAdmin):
    """Projects, for sites that have none of their own."""

    list_display = ("slug", "name", "is_active", "created_at")
    ordering = ("slug",)
    sortable_by = ("slug",)
    search_fields = ("slug",)
    search_help_text = gettext_lazy("The beginning of a slug.")
    prepopulated_fields = {"slug": ["name"]}
    readonly_fields = ("created_at",)
    begins = ("slug",)


if not Project._meta.swapped:
    admin.site.register(Project, ProjectAdmin)


@admin.register(Membership)
class MembershipAdmin(ListAdmin):
    """Who belongs to which project, as what."""

    list_display = ("user", "project", "role")
    list_filter = ("role",)
    list_select_related = ("user", "project")
    ordering = ("-pk",)
    sortable_by = ()
    raw_id_fields = ("user", "project")
    search_fields = ("user",)
    search_help_text = gettext_lazy("The beginning of a username or of a project's slug.")
    related = {"user": "", "project": "slug"}
