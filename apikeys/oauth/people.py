"""Revoke the authorizations of a user when something happens to the user (``WHEN_USER``)."""

from typing import Any

from django.db.models import Q
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_device_grant_model,
    get_grant_model,
    get_refresh_token_model,
)

from ..databases.primary import reading_primary
from . import authorizations
from .models import Consent


def withdraw(user: Any, project: Any) -> None:
    """Revoke what ``user`` gave to applications; with ``project``, only what selects it.

    Codes that are not used yet end too. The application can ask the user again.
    """
    for application in _authorized(user, project):
        authorizations.end(application, user)


@reading_primary()
def _authorized(user: Any, project: Any) -> list[Any]:
    if project is None:
        rows = [Consent, get_access_token_model(), get_refresh_token_model(), get_grant_model()]
        pks = {
            pk
            for model in rows
            for pk in _rows(model, user).values_list("application", flat=True).distinct()
        }
        clients = _rows(get_device_grant_model(), user).values_list("client_id", flat=True)
        applications = Q(pk__in=pks - {None}) | Q(client_id__in=set(clients))
        return list(get_application_model()._default_manager.filter(applications).order_by("pk"))
    found = {
        each.application.pk: each.application
        for each in authorizations.live(user=user)
        if each.projects is not None and project in each.projects
    }
    # Consents whose code is not used yet, too.
    selected = _rows(Consent, user).filter(all_projects=False, projects=project)
    for consent in selected.select_related("application"):
        found[consent.application.pk] = consent.application
    return [found[pk] for pk in sorted(found)]


def _rows(model: Any, user: Any) -> Any:
    return model._default_manager.filter(user=user)
