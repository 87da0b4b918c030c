"""Find tokens and keys by their ID among all that the user may see, whatever list is open."""

from typing import Any, Final

from django.db.models import QuerySet

from .. import token
from ..conf import app_settings
from ..models import AnyKey, PersonalAccessToken, ProjectKey
from ..policy import get_policy

#: The most keys of each kind that a search finds by the beginning of their ID.
_MOST: Final = 5


def elsewhere(user: Any, term: str, listed: QuerySet[Any] | None = None) -> list[AnyKey]:
    """Return the keys whose ID is or begins with ``term``, except those in the list ``listed``.

    ``term`` may have the prefix of a key. Makes no query for other text, and a bounded number of
    queries for an ID.
    """
    start = token.without_prefix(term)
    if not token.begins_id(start):
        return []
    found = [*_tokens(user, start), *_project_keys(user, start)]
    if listed is None:
        return found
    of_model = [key.pk for key in found if isinstance(key, listed.model)]
    shown = set(listed.filter(pk__in=of_model).values_list("pk", flat=True)) if of_model else ()
    return [key for key in found if not isinstance(key, listed.model) or key.pk not in shown]


def _tokens(user: Any, start: str) -> list[AnyKey]:
    return list(_beginning(PersonalAccessToken._default_manager.filter(user=user), start))


def _project_keys(user: Any, start: str) -> list[AnyKey]:
    if not app_settings.PROJECT_KEYS:  # their pages do not exist
        return []
    policy, keys = get_policy(), ProjectKey._default_manager.select_related("project")
    if not token.is_id(start):
        # The keys of other projects must not take the few places.
        keys = keys.filter(project__in=policy.projects(user))
    found = list(_beginning(keys, start))
    opened = {each: policy.may_see_keys(user, each) for each in {key.project for key in found}}
    return [key for key in found if opened[key.project]]


def _beginning(keys: QuerySet[Any], start: str) -> QuerySet[Any]:
    # PostgreSQL uses the index for a range, but for LIKE only with the collation C.
    last = start.ljust(token.ID_LENGTH, "z")
    return keys.filter(public_id__gte=start, public_id__lte=last).order_by("-pk")[:_MOST]
