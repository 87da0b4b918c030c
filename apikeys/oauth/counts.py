"""The numbers of OAuth clients and of what users granted them, for the inventory of the site."""

from typing import Any, Final

from django.db.models import Count, Q
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import get_application_model

from .models import Consent

LABELS: Final[dict[str, Any]] = {
    "clients": _("clients"),
    "clients_of_programs": _("clients that programs registered"),
    "clients_of_users": _("clients of users"),
    "grants": _("applications that users authorized"),
}


def count() -> dict[str, int]:
    """Return the numbers. Two queries."""
    model = get_application_model()
    by_program = ~Q(registration_source=model.RegistrationSource.MANUAL)
    clients = model._default_manager.aggregate(
        clients=Count("pk"),
        clients_of_programs=Count("pk", filter=by_program),
        clients_of_users=Count("pk", filter=Q(user__isnull=False)),
    )
    return {**clients, "grants": Consent.objects.filter(is_given=True).count()}
