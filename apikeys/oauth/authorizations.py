"""Who lets which application act for them: to be seen, and ended."""

from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from django.db import router, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_device_grant_model,
    get_grant_model,
    get_refresh_token_model,
)
from oauth2_provider.settings import oauth2_settings

from .. import lifecycle, scopes
from ..lifecycle import LifecycleError
from ..models import KEY_MODELS
from .models import Consent


class Authorization(NamedTuple):
    """A user and an application that has live tokens of theirs."""

    user: Any
    application: Any
    scopes: tuple[str, ...]
    #: ``None``: all that the user is in.
    projects: list[Any] | None
    since: datetime


def live(*, user: Any = None, application: Any = None) -> list[Authorization]:
    """The live authorizations of a user, or of an application, newest first."""
    who = {"user": user} if user is not None else {"application": application}
    access = (
        get_access_token_model()
        ._default_manager.filter(**who, user__isnull=False, application__isnull=False)
        .exclude(scope=_registration())
    )  # by which a client manages itself, not its user's rights
    refresh = get_refresh_token_model()._default_manager.filter(
        **who, revoked=None, access_token__isnull=False
    )
    pairs: dict[tuple[Any, Any], tuple[set[str], datetime]] = {}
    rows = [
        *access.filter(expires__gt=timezone.now()).values_list(
            "user", "application", "scope", "created"
        ),
        *refresh.values_list("user", "application", "access_token__scope", "created"),
    ]
    for user_id, app_id, scope, created in rows:
        names, since = pairs.get((user_id, app_id), (set(), created))
        pairs[user_id, app_id] = names | set(scope.split()), min(since, created)
    users = _by_pk(Consent._meta.get_field("user").related_model, {u for u, _ in pairs})
    apps = _by_pk(get_application_model(), {a for _, a in pairs})
    consents = {
        (c.user_id, c.application_id): c
        for c in Consent.objects.filter(**who).order_by("pk").prefetch_related("projects")
    }
    found = []
    for (user_id, app_id), (names, since) in pairs.items():
        consent = consents.get((user_id, app_id))
        projects = None
        if consent is not None and not consent.all_projects:
            projects = list(consent.projects.all())
        listed = scopes.split(" ".join(names))
        found.append(Authorization(users[user_id], apps[app_id], listed, projects, since))
    return sorted(found, key=lambda each: each.since, reverse=True)


def _by_pk(model: Any, pks: set[Any]) -> dict[Any, Any]:
    by_pk: dict[Any, Any] = model._default_manager.in_bulk(pks)
    return by_pk


def end(application: Any, user: Any = None) -> None:
    """Take ``application`` all that ``user``, or everybody, let it do: from the next request on."""
    who = {"application": application} | ({} if user is None else {"user": user})
    model = get_access_token_model()
    with transaction.atomic(using=router.db_for_write(model)):
        get_grant_model()._default_manager.filter(**who).delete()
        devices = get_device_grant_model()._default_manager.filter(client_id=application.client_id)
        (devices if user is None else devices.filter(user=user)).delete()
        get_refresh_token_model()._default_manager.filter(**who, revoked=None).update(
            revoked=timezone.now()
        )
        # A registered client goes on managing itself.
        model._default_manager.filter(**who).exclude(scope=_registration()).delete()
        Consent.objects.filter(**who).delete()


def end_what_it_made(sender: Any, instance: Any, **kwargs: Any) -> None:
    """Revoke the keys that were minted with an access token, once that is deleted.

    Those of one that has expired have expired as well.
    """
    if instance.is_expired():
        return
    for model in KEY_MODELS.values():
        for key in model._default_manager.filter(minted_with=str(instance.pk), revoked_at=None):
            with suppress(LifecycleError):  # it is deleted along with its user
                lifecycle.revoke(key, reason=_("Made with an access token that was revoked."))


def _registration() -> str:
    return str(oauth2_settings.DCR_REGISTRATION_SCOPE)
