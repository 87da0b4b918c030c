"""Keep the schemas of django-tenants apart."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import ProgrammingError, connection

__all__ = ["SchemaPartition"]


class SchemaPartition:
    """The partition of django-tenants: each schema has its own rows.

    Set ``APIKEYS["PARTITION"]`` to ``"apikeys.contrib.tenants.SchemaPartition"``.
    """

    def current(self) -> str:
        """Return the name of the schema that the connection uses."""
        return str(connection.schema_name)  # type: ignore[attr-defined] # set by its engine

    @contextmanager
    def enter(self, name: str) -> Iterator[None]:
        """Use the schema ``name`` inside the block. Raise ``ProgrammingError`` if it is gone."""
        from django_tenants.utils import schema_context, schema_exists

        # In a schema that is gone, the tables of the public schema would be found.
        if not schema_exists(name):
            raise ProgrammingError(f"The schema {name} does not exist.")
        with schema_context(name):
            yield
