"""Fetch the user of a project (``PROJECT_USER``) in the same query as its key."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..conf import app_settings
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


def make(
    model: Any,
    by: str,
    fields: Sequence[str | Group],
    instances: Mapping[str, Wanted],
    owners: Collection[str],
    *,
    project: str = "project",
) -> Lookup:
    """Return a ``Lookup`` that also fetches the user of ``project``, if the site has one."""
    relation = app_settings.PROJECT_USER
    if relation is None:
        return Lookup(model, by, fields, instances, owners)
    return _WithUser(model, by, fields, instances, owners, project=project, relation=relation)
