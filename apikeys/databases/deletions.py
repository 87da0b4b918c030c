"""Handle all rows that Django deletes together at once, instead of one by one."""

from collections.abc import Callable, Collection
from typing import Any

from django.db import router
from django.db.models import CASCADE, Model, Q, QuerySet


def once(instance: Model, origin: Any, act: Callable[[QuerySet[Any]], None], name: str) -> None:
    """Call ``act`` once, with ``instance`` and all rows of its model that are deleted with it.

    Call it at every ``pre_delete``: Django sends one signal for each row, and the first signal
    handles all rows. ``name`` is that of the receiver.
    """
    model: Any = type(instance)
    announced: set[Any] = set()
    if origin is not None:
        announced = origin.__dict__.setdefault(f"_apikeys_{name}", announced)
    row = (model._meta.label_lower, instance.pk)
    if row in announced:
        announced.remove(row)
        return
    rows = together(instance, origin)
    pks = list(rows.values_list("pk", flat=True))
    act(rows)
    announced.update((model._meta.label_lower, pk) for pk in pks if pk != instance.pk)


def skip(rows: QuerySet[Any], pks: Collection[Any], name: str) -> QuerySet[Any]:
    """Return the ``rows`` with these ``pks`` to delete, without a call of the receiver ``name``.

    ``name`` is that of ``once``.
    """
    label = rows.model._meta.label_lower
    doomed = rows.filter(pk__in=pks)
    doomed.__dict__[f"_apikeys_{name}"] = {(label, pk) for pk in pks}
    return doomed


def together(instance: Model, origin: Any) -> QuerySet[Any]:
    """Return ``instance`` and the rows of its model that are deleted with it.

    A row that another process adds meanwhile may be among them.
    """
    model: Any = type(instance)
    rows: QuerySet[Any] = model._default_manager.using(router.db_for_write(model))
    return rows.filter(Q(pk=instance.pk) | _deleted_with(model, origin)).order_by()


def _deleted_with(model: Any, origin: Any) -> Q:
    """Return the rows of ``model`` that Django deletes when ``origin`` is deleted."""
    is_query = isinstance(origin, QuerySet)
    of: type[Any] = origin.model if is_query else type(origin)
    values: Any = origin.values("pk") if is_query else [getattr(origin, "pk", None)]
    condition = Q(pk__in=values) if issubclass(of, model) else Q(pk__in=())
    for field in model._meta.concrete_fields:
        cascades = field.remote_field is not None and field.remote_field.on_delete is CASCADE
        if cascades and issubclass(of, field.related_model):
            condition |= Q(**{f"{field.name}__in": values})
    return condition
