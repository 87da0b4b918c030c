"""Clients that act on behalf of their owner without a browser (client credentials).

The owner's consent limits such a client to scopes and projects. It is an ordinary ``Consent``:
the owner sees it among the authorized applications, narrows it and revokes it there.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from django.db import router

from .. import scopes
from ..databases import transactions
from . import consent, narrowing
from .models import Consent

GRANT: Final = "client_credentials"


def is_one(application: Any) -> bool:
    """Return whether ``application`` belongs to a user and can keep a secret."""
    return bool(
        application.user_id is not None
        and application.client_type == application.CLIENT_CONFIDENTIAL
    )


def allow(application: Any, names: Sequence[str], projects: Iterable[Any] | None) -> Consent:
    """Store the owner's consent to scopes and projects (``None`` for all)."""
    scope = scopes.join(names)
    return consent.save(application.user, application, scope, projects, is_given=True)


def consent_of(application: Any) -> Any:
    """Return the consent that limits the tokens of ``application``; ``None`` if it was revoked."""
    rows = Consent.objects.using(router.db_for_write(Consent))
    given = rows.filter(user=application.user_id, application=application, is_given=True)
    return given.order_by("-pk").first()


def set_projects(application: Any, projects: Collection[Any] | None) -> None:
    """Change the projects in which ``application`` acts for its owner; ``None`` for all.

    Takes effect at the next request. Without a consent, nothing changes. A consent to other
    projects that the owner gave earlier is narrowed too, so that no older token keeps them.
    """
    user = application.user
    with transactions.atomic(Consent):
        held = _locked(application)
        last = next((each for each in reversed(held) if each.is_given), None)
        if last is None:
            return
        had = consent.projects_of(last)
        if had is not None and (projects is None or not set(projects) <= set(had)):
            last.all_projects = projects is None
            last.save(update_fields=["all_projects"])
            last.projects.set([] if projects is None else {*had, *projects})
            consent.tell(last, projects)
        if projects is not None and (had is None or not set(had) <= set(projects)):
            names = {name for each in held for name in each.scope.split()}
            narrowing.narrow(user, application, names=names, projects=projects, by=user)


def add_scopes(application: Any, names: Iterable[str]) -> None:
    """Extend the owner's consent by ``names``. Without a consent, nothing changes."""
    with transactions.atomic(Consent):
        last = next((each for each in reversed(_locked(application)) if each.is_given), None)
        if last is None:
            return
        had = scopes.expand(last.scope)
        allowed = consent.allowed(names, application.user, application.client_id)
        if not had.issuperset(allowed):
            last.scope = scopes.join([*last.scope.split(), *allowed])
            last.save(update_fields=["scope"])
            consent.tell(last, consent.projects_of(last))


def _locked(application: Any) -> list[Consent]:
    rows = Consent.objects.filter(user=application.user_id, application=application)
    return list(rows.order_by("pk").select_for_update())


def within(application: Any, names: Iterable[str]) -> list[str]:
    """Return the part of ``names`` that ``application`` may have for its owner today."""
    found = consent_of(application)
    if found is None:
        return []
    covered = scopes.expand(found.scope)
    wanted = [name for name in names if name in covered]
    return consent.allowed(wanted, application.user, application.client_id)


def default(application: Any) -> list[str]:
    """Return the scopes of a token that was requested without scopes."""
    found = consent_of(application)
    return [] if found is None else within(application, found.scope.split())
