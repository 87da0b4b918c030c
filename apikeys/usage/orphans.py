"""Delete rows about keys and projects that no longer exist.

They name a key by its kind and ID, and a project by its primary key as text.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from django.db import router

from .. import token
from ..databases import transactions
from ..models import KEY_MODELS, get_project_model

_BATCH: Final = 500


def prune(model: Any, column: str) -> int:
    """Delete the rows of ``model`` whose key was deleted. ``column`` has its ID."""
    gone, rows = 0, model._default_manager.using(router.db_for_write(model))
    for kind, keys in KEY_MODELS.items():
        of_kind = rows.filter(kind=token.KIND_NAMES[kind])
        existing = keys._default_manager.using(router.db_for_write(keys))
        for ids in values(of_kind, column):
            kept = set(existing.filter(public_id__in=ids).values_list("public_id", flat=True))
            gone += delete(of_kind.filter(**{f"{column}__in": set(ids) - kept}))
    return gone


def prune_projects(model: Any) -> int:
    """Delete the rows of ``model`` whose project was deleted."""
    rows = model._default_manager.using(router.db_for_write(model)).exclude(project_pk="")
    gone = 0
    for texts in values(rows, "project_pk"):
        gone += delete(rows.filter(project_pk__in=set(texts) - _existing(texts)))
    return gone


def _existing(texts: Iterable[str]) -> set[str]:
    """Return the ``texts`` that are the primary key of a project."""
    model: Any = get_project_model()
    rows = model._base_manager.using(router.db_for_write(model))
    pks = [model._meta.pk.to_python(text) for text in texts]
    return {str(pk) for pk in rows.filter(pk__in=pks).values_list("pk", flat=True)}


def values(rows: Any, name: str) -> Iterator[list[str]]:
    """Yield the different values of a column in batches."""
    last = ""
    while True:
        later = rows.filter(**{f"{name}__gt": last}).order_by(name)
        if not (batch := list(later.values_list(name, flat=True).distinct()[:_BATCH])):
            return
        yield batch
        last = batch[-1]


@transactions.retried
def delete(rows: Any) -> int:
    """Delete ``rows`` without signals. Return how many."""
    return int(rows.order_by()._raw_delete(rows.db) or 0)  # None without a query
