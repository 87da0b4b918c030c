"""Fetch the user of a project (``PROJECT_USER``) and the age of a key in the query for the key."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..conf import app_settings
from ..conf.endings import end_settings
from .lifetimes import Aging
from .lookup import Group, Lookup, Row, Wanted, all_except


class _WithUser(Lookup):
    """A lookup that also fetches the user of the project at ``project``."""

    def __init__(
        self,
        model: Any,
        by: str,
        fields: Sequence[str | Group],
        instances: Mapping[str, Wanted],
        owners: Collection[str],
        *,
        project: str,
        relation: str,
    ) -> None:
        user = f"{project}__{relation}"
        super().__init__(
            model, by, fields, {**instances, user: all_except("password")}, [*owners, user]
        )
        self._position = list(instances).index(project)
        self._relation = relation

    def build(self, row: Row) -> list[Any]:
        """Return the instances without the user, which is set on the project."""
        *instances, user = super().build(row)
        project = instances[self._position]
        if project is not None:
            project._meta.get_field(self._relation).set_cached_value(project, user)
        return instances


class _AgingWithUser(Aging, _WithUser):
    """A lookup of project keys with the user of the project, and with their age."""


def make(
    model: Any,
    by: str,
    fields: Sequence[str | Group],
    instances: Mapping[str, Wanted],
    owners: Collection[str],
    *,
    project: str = "project",
) -> Lookup:
    """Return a ``Lookup`` that also fetches the user of ``project``, if the site has one.

    If the site enforces the longest lifetime, a lookup of keys also fetches their age.
    """
    relation = app_settings.PROJECT_USER
    ages = end_settings.ENFORCE_LONGEST_LIFETIME and "expires_at" in fields
    if relation is None:
        kind = Aging if ages else Lookup
        return kind(model, by, fields, instances, owners)
    with_user = _AgingWithUser if ages else _WithUser
    return with_user(model, by, fields, instances, owners, project=project, relation=relation)
