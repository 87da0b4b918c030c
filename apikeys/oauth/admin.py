from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from ..admin.lists import ListAdmin
from ..admin.sites import manages
from ..admin.theme import ModelAdmin
from ..databases import transactions
from ..templatetags.apikeys_pages import some
from .models import Consent, TokenLifetime
from .signals import consent_withdrawn


@manages(TokenLifetime)
class TokenLifetimeAdmin(ModelAdmin):
    list_display = ("application", "grant_type", "access_token_seconds", "refresh_token_seconds")
    list_select_related = ("application",)
    raw_id_fields = ("application",)


@manages(Consent)
class ConsentAdmin(ListAdmin):
    """View what users allow applications, and withdraw it: deleting a consent ends its tokens."""

    list_display = ("application", "user", "scopes", "all_projects", "created_at", "narrowed_at")
    list_select_related = ("application", "user")
    ordering = ("-pk",)
    sortable_by = ()
    fields = ("application", "user", "scope", "all_projects", "projects", "created_at")
    search_fields = ("user",)
    search_help_text = gettext_lazy("Search by the start of a username or a client ID.")
    related = {"user": "", "application": "client_id"}

    @admin.display(description=gettext_lazy("Scopes"))
    def scopes(self, consent: Consent) -> str:
        return some(consent.scope.split())

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with transactions.atomic(Consent):
            consent_withdrawn.send(
                Consent, application=obj.application, user=obj.user, by=request.user
            )
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for each in queryset.select_related("application", "user"):
            self.delete_model(request, each)
