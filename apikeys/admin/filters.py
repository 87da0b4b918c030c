"""Filters of the lists of keys. Each has a fixed number of choices and shows no counts."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..keys.queries import expiring, idle, in_state, lasting, unused, used
from ..lifecycle import MAX_OVERLAP
from ..models import KEY_MODELS, State

_SOON = (7, 30, 90)  # days


class KindFilter(admin.ListFilter):
    """Link to the list of the other kind, with the same filters. Each kind has its own table."""

    title = gettext_lazy("kind")

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        site = model_admin.admin_site
        self._site = site
        self._own = model
        self._models = [
            each
            for each in KEY_MODELS.values()
            if each in site._registry and site._registry[each].has_view_permission(request)
        ]

    def has_output(self) -> bool:
        return len(self._models) > 1

    def choices(self, changelist: Any) -> Iterator[dict[str, Any]]:
        query = changelist.get_query_string(remove=["o", "user", "project"])
        for model in self._models:
            name = f"admin:apikeys_{model._meta.model_name}_changelist"
            yield {
                "selected": model is self._own,
                "query_string": reverse(name, current_app=self._site.name) + query,
                "display": model._meta.verbose_name_plural,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        return None

    def expected_parameters(self) -> list[str | None]:
        return []


class StateFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*State.choices, ("rotated", _("rotated, old secret still works"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value in State.values:
            return in_state(queryset, State(value))
        if value == "rotated":
            rotated = queryset.filter(revoked_at=None, rotated_at__isnull=False)
            now = timezone.now()
            return expiring(rotated, after=now, until=now + MAX_OVERLAP)
        return queryset


class ExpiryFilter(admin.SimpleListFilter):
    title = gettext_lazy("expiry")
    parameter_name = "expires"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        soon = [(str(days), _("within %(days)d days") % {"days": days}) for days in _SOON]
        return [*soon, ("past", _("in the past")), ("never", _("never"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now, value = timezone.now(), self.value() or ""
        if value == "never":
            return lasting(queryset)
        if value == "past":
            return expiring(queryset, until=now)
        if value in map(str, _SOON):
            return expiring(queryset, after=now, until=now + timedelta(days=int(value)))
        return queryset


class LastUseFilter(admin.SimpleListFilter):
    title = gettext_lazy("last use")
    parameter_name = "used"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("1", _("in the last 24 hours")),
            ("30", _("in the last 30 days")),
            ("not-30", _("not in the last 30 days")),
            ("not-90", _("not in the last 90 days")),
            ("never", _("never")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        if value == "never":
            return unused(queryset)
        if value not in dict(self.lookup_choices):
            return queryset
        since = timezone.now() - timedelta(days=int(value.removeprefix("not-")))
        return idle(queryset, since) if value.startswith("not-") else used(queryset, since)
