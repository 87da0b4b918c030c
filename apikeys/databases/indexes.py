"""Add indexes to large tables in migrations, without a lock that stops writes."""

from typing import Any

from django.db.migrations import AddIndex


class AddIndexWithoutLock(AddIndex):
    """Add an index with ``CREATE INDEX CONCURRENTLY`` on PostgreSQL, so that writes go on.

    Use it in a migration with ``atomic = False``. In a transaction, such as that of a test, and
    on other databases, it works like ``AddIndex``. MariaDB does not stop writes either. An
    invalid index that an interrupted run left behind is replaced.
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        connection = schema_editor.connection
        if connection.vendor != "postgresql" or connection.in_atomic_block:
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            if connection.vendor == "sqlite":
                _analyze(connection, self.index.name)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(connection.alias, model):
            schema_editor.execute(
                f"DROP INDEX CONCURRENTLY IF EXISTS {schema_editor.quote_name(self.index.name)}"
            )
            schema_editor.add_index(model, self.index, concurrently=True)


def _analyze(connection: Any, index: str) -> None:
    """Analyze the index on a SQLite that has analyzed others.

    Until the next ``ANALYZE``, SQLite would take the new index for the most selective one, and
    sort a million rows that another index has in order.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'")
        if cursor.fetchone():
            cursor.execute(f"ANALYZE {connection.ops.quote_name(index)}")
