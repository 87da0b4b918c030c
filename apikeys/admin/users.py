"""Link the admin page of a user to the user's tokens and keys."""

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..models import PersonalAccessToken, ProjectKey

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object

#: The field of the page, the model of the list, and the field there that refers to the user.
_LISTS: Final = (
    ("tokens_of_user", PersonalAccessToken, "user"),
    ("keys_by_user", ProjectKey, "created_by"),
)


class KeysOfUser(_ModelAdmin):
    """Mix it into your admin of users, before ``UserAdmin``, to link to a user's tokens and keys.

    A link needs the permission to view the tokens, or the keys. The links make no query.
    """

    @admin.display(description=gettext_lazy("personal access tokens"))
    def tokens_of_user(self, user: Model) -> str:
        """Return a link to the list of the user's tokens."""
        return self._link(PersonalAccessToken, "user", user)

    @admin.display(description=gettext_lazy("project keys created by the user"))
    def keys_by_user(self, user: Model) -> str:
        """Return a link to the list of the project keys that the user created."""
        return self._link(ProjectKey, "created_by", user)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fieldsets of the page, and one with the links."""
        fieldsets = super().get_fieldsets(request, obj)
        names = [] if obj is None else self._visible(request)
        return [*fieldsets, (_("API keys"), {"fields": names})] if names else fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the read-only fields of the page, and the links that the viewer may see."""
        fields = super().get_readonly_fields(request, obj)
        return fields if obj is None else [*fields, *self._visible(request)]

    def _visible(self, request: HttpRequest) -> list[str]:
        admins = self.admin_site._registry
        return [
            name
            for name, model, _field in _LISTS
            if model in admins and admins[model].has_view_permission(request)
        ]

    def _link(self, model: Any, field: str, user: Model) -> str:
        name = f"admin:apikeys_{model._meta.model_name}_changelist"
        url = reverse(name, current_app=self.admin_site.name)
        return format_html(
            '<a href="{}?{}">{}</a>', url, urlencode({field: user.pk}), _("Show the list")
        )
