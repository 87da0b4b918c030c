"""Report foreign keys that lead to another database, before the first key is created."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, register
from django.db import router
from django.db.models import ForeignKey


@register("apikeys")
def check_relations(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Report each model of this package that refers to a model in another database."""
    return list(_across()) if router.routers else []


def _across() -> Iterator[CheckMessage]:
    for app in apps.get_app_configs():
        if app.name.split(".")[0] != "apikeys":
            continue
        for model in app.get_models(include_auto_created=True):
            alias = router.db_for_write(model)
            for field in model._meta.concrete_fields:
                if not isinstance(field, ForeignKey) or not getattr(field, "db_constraint", True):
                    continue
                target: Any = field.related_model
                there = router.db_for_write(target)
                if there != alias:
                    yield Error(
                        f"{model._meta.label} is written to the database {alias!r}, but its "
                        f"foreign key {field.name} refers to {target._meta.label} in {there!r}.",
                        hint=f"A foreign key cannot lead to another database. Route the app "
                        f"{app.label!r} to the database of {target._meta.label} in "
                        "DATABASE_ROUTERS.",
                        obj=model,
                        id="apikeys.E085",
                    )
