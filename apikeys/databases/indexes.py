"""Add indexes to large tables in migrations, without a lock that stops writes."""

from typing import Any

from django.db.migrations import AddIndex


class AddIndexWithoutLock(AddIndex):
    """Add an index with ``CREATE INDEX CONCURRENTLY`` on PostgreSQL, so that writes go on.

    Use it in a migration with ``atomic = False``. In a transaction, such as that of a test, and
    on other databases, it works like ``AddIndex``. MariaDB does not stop writes either. If an
    interrupted run left the index behind, PostgreSQL builds it again. Other databases keep it.
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        connection = schema_editor.connection
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(connection.alias, model):
            return
        name = self.index.name
        if connection.vendor == "postgresql" and not connection.in_atomic_block:
            schema_editor.execute(
                f"DROP INDEX CONCURRENTLY IF EXISTS {schema_editor.quote_name(name)}"
            )
            schema_editor.add_index(model, self.index, concurrently=True)
            return
        if name not in _indexes(connection, model):
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        if connection.vendor == "sqlite":
            _analyze(connection, name)


def _indexes(connection: Any, model: Any) -> Any:
    """Return the indexes and constraints of the table of a model, by name."""
    with connection.cursor() as cursor:
        return connection.introspection.get_constraints(cursor, model._meta.db_table)


def _analyze(connection: Any, index: str) -> None:
    """Analyze the index on a SQLite that has analyzed others.

    Until the next ``ANALYZE``, SQLite would take the new index for the most selective one, and
    sort a million rows that another index has in order.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'")
        if cursor.fetchone():
            cursor.execute(f"ANALYZE {connection.ops.quote_name(index)}")
