"""The names of the projects that audit events mention by their slugs."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from ..conf import slug_field, slug_of
from ..models import AuditEvent
from ..policy import get_policy
from .owners import Tokens

Names = Mapping[str, str]


def names_of(events: Iterable[AuditEvent], owner: Tokens) -> Names:
    """Return the names of the projects that ``events`` mention, by slug. Takes one query at most.

    Slugs of projects that the user is no member of are left out.
    """
    if owner.project is not None:
        return {slug_of(owner.project): str(owner.project)}
    slugs = {slug for event in events for slug in _slugs(event.changes)}
    if not slugs:
        return {}
    try:
        found = get_policy().projects(owner.user).filter(**{f"{slug_field()}__in": slugs})
        return {slug_of(project): str(project) for project in found}
    except (ValueError, ValidationError):  # a slug of another field, from before it was changed
        return {}


def with_names(changes: Mapping[str, Any], names: Names) -> Mapping[str, Any]:
    """Return ``changes`` with names instead of slugs. Unknown slugs stay."""
    named = {key: _named(changes[key], names) for key in ("project", "projects") if key in changes}
    return {**changes, **named}


def _named(value: Any, names: Names) -> Any:
    if isinstance(value, Mapping):  # a difference
        return {key: _named(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_named(each, names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value


def _slugs(changes: Mapping[str, Any]) -> Iterator[str]:
    values = [changes.get("project"), changes.get("projects")]
    while values:
        value = values.pop()
        if isinstance(value, Mapping):
            values += value.values()
        elif isinstance(value, list):
            values += value
        elif isinstance(value, str):
            yield value
