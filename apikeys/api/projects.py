"""Find the project of a request, for all views below ``projects/{slug}/``."""

from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from rest_framework.exceptions import NotFound

from .. import scopes
from ..access import Access
from ..conf import slug_field, slug_of
from ..drf import InsufficientScope
from ..policy import get_policy


def find(slug: str, access: Access | None, *, is_write: bool) -> Any:
    """Return the project with this slug in which the caller has ``keys:read`` or ``keys:write``.

    Raise ``NotFound`` if it does not exist for the caller, or ``InsufficientScope``.
    """
    if access is None:
        return _one(get_policy().active_projects(), slug)
    required = (scopes.KEYS_WRITE if is_write else scopes.KEYS_READ,)
    try:
        return _one(access.projects(*required), slug)
    except NotFound:
        _one(access.projects(), slug)
        raise InsufficientScope(*required) from None


def _one(projects: QuerySet[Any], slug: str) -> Any:
    if "\0" in slug:
        raise NotFound
    try:
        project = projects.get(**{slug_field(): slug})
    except (ObjectDoesNotExist, ValueError):
        raise NotFound from None
    if slug_of(project) != slug:  # the database's collation may ignore case or accents
        raise NotFound
    return project
