"""The admin of memberships, and of projects unless the site has its own project model."""

from django.utils.translation import gettext_lazy

from ..models import Membership, Project
from .lists import ListAdmin
from .sites import manages


class ProjectAdmin(ListAdmin):
    """Manage projects. Registered only if the site uses the project model of this app."""

    list_display = ("slug", "name", "is_active", "created_at")
    ordering = ("slug",)
    sortable_by = ("slug",)
    search_fields = ("slug",)
    search_help_text = gettext_lazy("Search by the start of a slug.")
    prepopulated_fields = {"slug": ["name"]}
    readonly_fields = ("created_at",)
    begins = ("slug",)


if not Project._meta.swapped:
    manages(Project)(ProjectAdmin)


@manages(Membership)
class MembershipAdmin(ListAdmin):
    """Manage the members of projects and their roles."""

    list_display = ("user", "project", "role")
    list_filter = ("role",)
    list_select_related = ("user", "project")
    ordering = ("-pk",)
    sortable_by = ()
    raw_id_fields = ("user", "project")
    search_fields = ("user",)
    search_help_text = gettext_lazy("Search by the start of a username or a project's slug.")
    related = {"user": "", "project": "slug"}
