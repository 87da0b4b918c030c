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
from . import device
from .models import Consent

_BATCH: Final = 200


@reading_primary()
def prune(unused: timedelta) -> int:
    """Delete the clients that are at least ``unused`` old. Return how many.

    A client of a metadata document comes back when somebody uses it again. Old codes for devices
    are deleted and counted too.
    """
    deleted = device.prune()
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
    # Anyone can request a code, so one that expired does not count.
    active = {"expires__gt": timezone.now()}
    codes = get_grant_model()._default_manager.filter(**own, **active)
    devices = get_device_grant_model()._default_manager.filter(
        client_id=OuterRef("client_id"), **active
    )
    return (
        model._default_manager.filter(created__lte=timezone.now() - unused)
        .exclude(registration_source=model.RegistrationSource.MANUAL)
        .exclude(Exists(tokens.filter(**own)))
        .exclude(Exists(refresh.filter(**own)))
        .exclude(Exists(codes))
        .exclude(Exists(devices))
        .exclude(Exists(Consent.objects.filter(**own)))
    )
