"""Keep the rows of tenants apart, because they may have the same primary keys.

A tenant may have a separate database, chosen by the site's router, or a separate schema, chosen
by the connection, or what the site's ``PARTITION`` names. ``apikeys.cache`` stores rows by place,
and uses are written to the place that the key was read from. A change drops the rows of all
tenants that have the same key: tenants may share their users.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections, router
from django.db.backends.signals import connection_created

from ..conf import app_settings
from .primary import reading_primary

#: Name prefixes of engines and apps that give each tenant a schema.
_ENGINES: Final = ("django_tenants", "django_pgschemas", "tenant_schemas")


class Place(NamedTuple):
    """A database alias, and the schema or the name of the partition; ``""`` without tenants."""

    alias: str
    schema: str = ""


_DEFAULT: Final = Place(DEFAULT_DB_ALIAS)

_has_schemas: dict[str, bool] = {}
# Whether SQL of the site has changed the search path of a connection. From then on, only the
# database knows the schema of a row.
_changed_by_sql = False


def place_of(model: Any) -> Place | None:
    """Return where ``model`` is written to right now; ``None`` if only a query can tell."""
    if (partition := app_settings.PARTITION) is not None:
        return Place(router.db_for_write(model), partition.current() or "")
    if _changed_by_sql:
        return None
    alias = router.db_for_write(model) if router.routers else DEFAULT_DB_ALIAS
    try:
        has_schemas = _has_schemas[alias]
    except KeyError:
        has_schemas = _has_schemas[alias] = _names_schema(connections[alias])
    if has_schemas:
        return Place(alias, _schema(connections[alias]))
    return _DEFAULT if alias is DEFAULT_DB_ALIAS else Place(alias)


def prefix_of(model: Any) -> str:
    """Return what sets the names of this tenant apart in stores that all tenants share.

    Empty without tenants, and if only a query can tell the tenant.
    """
    place = place_of(model)
    return f"{place.alias}:{place.schema}:" if place and place.schema else ""


def ask_place_of(model: Any) -> Place:
    """Return where ``model`` is written to right now. Makes a query if necessary."""
    if (place := place_of(model)) is not None:
        return place
    connection = connections[router.db_for_write(model)]
    if connection.vendor != "postgresql":
        return Place(connection.alias)
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('search_path')")
        (path,) = cursor.fetchone()
    return Place(connection.alias, path)


@contextmanager
def entered(place: Place) -> Iterator[None]:
    """Read and write at ``place`` inside the block."""
    with reading_primary(place.alias):
        if not place.schema:
            yield
        elif (partition := app_settings.PARTITION) is not None:
            with partition.enter(place.schema):
                yield
        elif _names_schema(connections[place.alias]):
            with _schema_entered(connections[place.alias], place.schema):
                yield
        else:
            with _path_entered(connections[place.alias], place.schema):
                yield


@contextmanager
def _schema_entered(connection: Any, name: str) -> Iterator[None]:
    if not hasattr(connection, "set_schema"):
        with import_module("django_pgschemas.schema").Schema.create(schema_name=name):
            yield
        return
    before = _schema(connection)
    connection.set_schema(name)
    try:
        yield
    finally:
        connection.set_schema(before)


@contextmanager
def _path_entered(connection: Any, path: str) -> Iterator[None]:
    def enter(path: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('search_path', %s, false)", [path])

    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('search_path')")
        (before,) = cursor.fetchone()
    enter(path)
    try:
        yield
    finally:
        try:
            enter(before)
        except Error:  # the transaction has failed: start the next one on a new connection
            with suppress(Error):
                connection.close()


def engine_with_schemas() -> str:
    """Return the first engine in ``DATABASES`` that gives each tenant a schema, or ``""``."""
    for alias, config in settings.DATABASES.items():
        engine = str(config.get("ENGINE", ""))
        if engine.startswith(_ENGINES):
            return engine
        with suppress(Exception):  # Django reports an engine that cannot be loaded
            if _names_schema(connections[alias]):
                return engine
    return ""


def _names_schema(connection: Any) -> bool:
    engine = str(connection.settings_dict.get("ENGINE", ""))
    names = ("set_schema", "schema_name")
    return engine.startswith(_ENGINES) or any(hasattr(connection, name) for name in names)


def _schema(connection: Any) -> str:
    if (name := getattr(connection, "schema_name", None)) is not None:
        return str(name)
    # django-pgschemas does not store it on the connection.
    with suppress(ImportError):
        schemas = import_module("django_pgschemas.schema")
        return str(schemas.get_current_schema().schema_name)
    return "?"


def _watch(execute: Any, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    global _changed_by_sql
    if not _changed_by_sql and "search_path" in str(sql).lower():
        _changed_by_sql = True
    return execute(sql, params, many, context)


def _connected(connection: Any, **kwargs: Any) -> None:
    if connection.vendor != "postgresql" or _watch in connection.execute_wrappers:
        return
    # Engines for tenants need no watching: the connection names its schema.
    if not _names_schema(connection):
        # Insert it first: `connection.execute_wrapper()` removes the last one after its block.
        connection.execute_wrappers.insert(0, _watch)


connection_created.connect(_connected, dispatch_uid="apikeys.databases.tenants")
