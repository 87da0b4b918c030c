"""The applications that reach a project, for ``apikeys.reach``."""

from typing import Any

from django.db import router
from django.db.models import QuerySet
from oauth2_provider.models import get_access_token_model

from .. import scopes, token
from ..decisions import OAUTH
from ..reach.entries import Entry
from . import authorizations


def entries(project: Any, members: QuerySet[Any], only: str | None) -> list[Entry]:
    """Return the authorizations of ``members`` that reach ``project``, or the one with an ID."""
    found = []
    for each in authorizations.live(users=members):
        if each.projects is not None and project not in each.projects:
            continue
        grant = token.grant_id(each.application.pk, each.user.pk)
        if only is None or grant == only:
            found.append(
                Entry(
                    OAUTH,
                    grant,
                    _shown(str(each.application)) or each.application.client_id,
                    scopes.join(each.scopes),
                    user_pk=each.user.pk,
                    user=each.user.get_username(),
                    client=each.application.client_id,
                    client_pk=each.application.pk,
                    authorized_at=each.since,
                )
            )
    return found


def _shown(name: str) -> str:
    """Return the name of an application, which anyone may have chosen, on one line."""
    return "".join(c for c in " ".join(name.split()) if c.isprintable())


def lock(application_pk: Any, user_pk: Any) -> None:
    """Lock the access tokens, so that none of them creates a key until the transaction ends."""
    model = get_access_token_model()
    rows = model._default_manager.using(router.db_for_write(model))
    who = {"application": application_pk, "user": user_pk}
    list(rows.filter(**who).order_by("pk").select_for_update().values_list("pk"))
