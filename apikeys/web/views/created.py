"""The unended keys that were created with a key, and that end with it."""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

from django.db.models import prefetch_related_objects
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...conf import app_settings
from ...lifecycle import descendants
from ...models import AnyKey, ProjectKey
from ...policy import get_policy
from ...templatetags.apikeys_pages import quoted
from ..owners import Tokens, owner_of

_MOST_SHOWN: Final = 20


class Created(NamedTuple):
    """Keys that were created with another: those to show, and the number of the others."""

    shown: list[dict[str, Any]]
    more: int


def created_with(keys: Collection[AnyKey], owner: Tokens) -> Created:
    """Return the unended keys that were created with ``keys``, as the user of ``owner`` sees them.

    A key that the user may not open has no URL. The page shows its ID, and not its name. Takes
    the same number of queries for any number of keys in the same projects.
    """
    shown, number = descendants.newest_created_with(keys, _MOST_SHOWN)
    prefetch_related_objects([each for each in shown if isinstance(each, ProjectKey)], "project")
    opened = _opened({each.project for each in shown if isinstance(each, ProjectKey)}, owner)
    return Created([_row(each, owner, opened) for each in shown], number - len(shown))


def revoked(key: AnyKey, created: Collection[AnyKey]) -> str:
    """Return the message after ``key`` was revoked, and ``created`` with it."""
    number = len(created)
    project_keys = sum(isinstance(each, ProjectKey) for each in created)
    if not created:
        text = _("Revoked %(name)s.")
    elif project_keys == number:
        text = ngettext(
            "Revoked %(name)s, and %(n)d key that was created with it.",
            "Revoked %(name)s, and %(n)d keys that were created with it.",
            number,
        )
    elif not project_keys:
        text = ngettext(
            "Revoked %(name)s, and %(n)d token that was created with it.",
            "Revoked %(name)s, and %(n)d tokens that were created with it.",
            number,
        )
    else:
        text = _("Revoked %(name)s, and %(n)d tokens and keys that were created with it.")
    return text % {"name": quoted(key.name), "n": number}


def _opened(projects: Collection[Any], owner: Tokens) -> set[Any]:
    """Return the members of ``projects`` whose keys the user may see."""
    if not app_settings.PROJECT_KEYS:  # their pages do not exist
        return set()
    policy = get_policy()
    return {
        each for each in projects if each == owner.project or policy.may_see_keys(owner.user, each)
    }


def _row(key: AnyKey, owner: Tokens, opened: Collection[Any]) -> dict[str, Any]:
    if isinstance(key, ProjectKey):
        project = None if key.project == owner.project else key.project
        is_open = key.project in opened
    else:
        project, is_open = None, key.user_id == owner.user.pk
    url = owner_of(owner.user, key).url("key", key) if is_open else None
    return {"key": key, "project": project, "url": url}
