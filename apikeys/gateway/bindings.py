"""To whom the resources of somebody else's API belong."""

from typing import Any

from django.db.models import Q

from ..access import PROJECT_KEY, Access
from ..conf import app_settings
from .models import ResourceBinding


def holds(access: Access, kind: str, identifier: str, scopes: tuple[str, ...] = ()) -> bool:
    """Whether ``identifier`` is bound to the caller. One query.

    A project key has what is bound to its project. A person's credential has what is bound
    to the person, unless it is restricted to some projects, and to the projects in which it
    may do all of ``scopes``.
    """
    if access.kind == PROJECT_KEY:
        owner = Q(project=access.project)
    elif access.user is None:
        return False
    else:
        owner = Q(project__in=access.projects(*scopes))
        if access.selected is None:
            owner |= Q(user=access.user)
    return identifier in bound(kind, identifier).filter(owner).values_list("identifier", flat=True)


def user_holds(user: Any, kind: str, identifier: str) -> bool:
    """Whether it is bound to ``user``, or to a project of theirs. One query."""
    owner = Q(user=user.pk) | Q(project__in=app_settings.POLICY.projects(user))
    return identifier in bound(kind, identifier).filter(owner).values_list("identifier", flat=True)


def bound(kind: str, identifier: str) -> Any:
    return ResourceBinding.objects.filter(kind=kind, identifier=identifier)
