"""Decide whether a user or a project is active today.

A model may lack the field ``is_active`` or compute it. A row that the default manager of its
model hides, such as a soft-deleted row, counts as inactive.
"""

from typing import Any, Final

from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager
from django.db.models.sql import Query

from ..databases.primary import PrimaryManager

SHOWN: Final = "_apikeys_shown"


def is_active(owner: Any) -> bool:
    """Return whether a user or a project is active and not hidden.

    Makes one query if the default manager of the model filters.
    """
    if not getattr(owner, "is_active", True):
        return False
    if not isinstance(owner, Model):
        return True
    shown: bool | None = getattr(owner, SHOWN, None)
    return is_shown(owner.__class__, owner.pk, owner._state.db) if shown is None else shown


def is_shown(model: Any, pk: Any, alias: str | None) -> bool:
    """Return whether the default manager of ``model`` finds the row. No query if it is plain."""
    manager = model._default_manager
    kind = type(manager)
    if kind is PrimaryManager or (
        kind.get_queryset is BaseManager.get_queryset
        and kind._queryset_class.__init__ is QuerySet.__init__
    ):
        return True
    # Not cached: a manager may filter by request.
    rows = manager.using(alias)
    query = rows.query
    if type(query) is Query and not (query.where or query.is_sliced or query.combinator):
        return True
    return bool(rows.filter(pk=pk).exists())
