"""Delete clients that registered themselves and that no user authorizes."""

from datetime import timedelta
from typing import Any, Final

from django.db.models import Exists, OuterRef
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_device_grant_model,
    get_grant_model,
    get_refresh_token_model,
)
from oauth2_provider.settings import oauth2_settings

from ..databases import transactions
from ..databases.primary import reading_primary
from .models import Consent

_BATCH: Final = 200


@reading_primary()
def prune(unused: timedelta) -> int:
    """Delete the clients that are at least ``unused`` old. Return how many.

    A client of a metadata document comes back when somebody uses it again.
    """
    deleted = 0
    while pks := list(_unused(unused).order_by("pk").values_list("pk", flat=True)[:_BATCH]):
        with transactions.atomic(get_application_model()):
            # Ask again: somebody may authorize one right now.
            rows = _unused(unused).filter(pk__in=pks).order_by("pk").select_for_update()
            deleted += len(clients := list(rows))
            get_application_model()._default_manager.filter(
                pk__in=[client.pk for client in clients]
            ).delete()
            if not clients:
                break
    return deleted


def _unused(unused: timedelta) -> Any:
    model = get_application_model()
    tokens = get_access_token_model()._default_manager.exclude(
        scope=oauth2_settings.DCR_REGISTRATION_SCOPE
    )
    own = {"application": OuterRef("pk")}
    refresh = get_refresh_token_model()._default_manager.filter(revoked=None)
    devices = get_device_grant_model()._default_manager
    return (
        model._default_manager.filter(created__lte=timezone.now() - unused)
        .exclude(registration_source=model.RegistrationSource.MANUAL)
        .exclude(Exists(tokens.filter(**own)))
        .exclude(Exists(refresh.filter(**own)))
        .exclude(Exists(get_grant_model()._default_manager.filter(**own)))
        .exclude(Exists(devices.filter(client_id=OuterRef("client_id"))))
        .exclude(Exists(Consent.objects.filter(**own)))
    )
