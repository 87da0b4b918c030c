"""Report a project model that does not match the tables, and a policy that hides members."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from ..conf import AppSettings
from ..conf.documentation import page
from ..models import ProjectKey, get_project_model
from ..policy import Policy, get_policy


@register("apikeys")
def check_members(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Report a policy with its own ``projects`` and without the ``members`` that belong to it."""
    if AppSettings.POLICY.error():
        return []  # reported as a wrong setting
    policy = type(get_policy())
    if policy.projects is Policy.projects or policy.members is not Policy.members:
        return []
    return [
        Warning(
            f"{policy.__name__} overrides projects(), but not members(). The page of access to a "
            "project lacks tokens of users who are only in your projects().",
            hint="Override members() to return the users who have the project in projects(). "
            f"See {page('reference/policy')}",
            id="apikeys.W086",
        )
    ]


@register(Tags.database)
def check_project_tables(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """Compare the project model with the tables of each database, and with its migrations."""
    try:
        model = get_project_model()
    except ImproperlyConfigured:
        return []  # reported as apikeys.E008
    if databases and _lacks_migrations(model._meta.app_label):
        return [
            Error(
                f"APIKEYS_PROJECT_MODEL is {model._meta.label}, and the app "
                f"{model._meta.app_label!r} has no migrations.",
                hint=f"Run `manage.py makemigrations {model._meta.app_label}` first. "
                f"See {page('how-to/own-project-model')}",
                id="apikeys.E083",
            )
        ]
    return [
        Error(
            f"APIKEYS_PROJECT_MODEL is {model._meta.label}, but the tables of apikeys in the "
            f"database {alias!r} refer to {_label(table)}.",
            hint=f"Set APIKEYS_PROJECT_MODEL back to {_label(table)!r}. To change it, see "
            f"{page('how-to/own-project-model', 'change-the-model-later')}",
            id="apikeys.E082",
        )
        for alias in databases or ()
        if (table := _project_table(alias)) and table != _plain(model._meta.db_table)
    ]


def _lacks_migrations(app_label: str) -> bool:
    """Return whether this app has no migrations, unless this package has none either."""
    loader = MigrationLoader(None, load=False)
    try:
        loader.load_disk()
    except ImportError:
        return False  # reported by `migrate` itself
    return "apikeys" in loader.migrated_apps and app_label not in loader.migrated_apps


def _project_table(alias: str) -> str | None:
    """Return the table that project keys refer to, or ``None`` if it is unknown."""
    connection = connections[alias]
    field = ProjectKey._meta.get_field("project")
    try:
        with connection.cursor() as cursor:
            relations = connection.introspection.get_relations(cursor, ProjectKey._meta.db_table)
    except DatabaseError:
        return None  # the outage is reported elsewhere
    relation = relations.get(field.column)  # (column, table), and more since Django 6.1
    return _plain(relation[1]) if relation else None


def _plain(table: str) -> str:
    """Return the name of a table without its schema, as servers compare it."""
    return table.rpartition(".")[2].strip('"').casefold()


def _label(table: str) -> str:
    models = apps.get_models(include_swapped=True)
    labels = (each._meta.label for each in models if _plain(each._meta.db_table) == table)
    return next(labels, table)
