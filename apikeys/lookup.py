"""One row by a unique column, its owners included, in one statement that is compiled once.

Most of what an ORM query costs is building it. So the ORM builds this one once per
thread, which keeps it portable and true to swapped models, and a request only runs it.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from django.db import connections, router
from django.db.models import Model

Row = Sequence[Any]
Wanted = Callable[[str], bool]


def but(*names: str) -> Wanted:
    """All fields but these."""
    return lambda name: name not in names


def only(*names: str) -> Wanted:
    """These fields, and the primary key."""
    return lambda name: name in names


class Found(NamedTuple):
    """A row made usable: the ``fields`` by name, and the instances in the order asked for."""

    fields: dict[str, Any]
    instances: list[Any]


class Lookup:
    """Finds ``fields`` of the row of ``model`` that has a value in the column ``by``.

    ``instances`` maps the foreign keys to fetch along, or ``""`` for the row itself, to the
    fields wanted of them. The others load when asked for, as Django's deferred fields do.
    """

    def __init__(
        self,
        model: Any,
        by: str,
        fields: Sequence[str] = (),
        instances: Mapping[str, Wanted] = {},  # noqa: B006 - it is read only
    ) -> None:
        self.model = model
        self._by = by
        self._fields = fields
        self._instances = instances
        self._local = threading.local()

    @cached_property
    def _parts(self) -> "list[_Part]":
        return [_Part(self.model, path, wanted) for path, wanted in self._instances.items()]

    def _compiled(self, alias: str) -> "_Statement":
        statements: dict[str, _Statement] = self._local.__dict__
        try:
            return statements[alias]
        except KeyError:
            paths = [*self._fields, *(path for part in self._parts for path in part.paths)]
            statements[alias] = _Statement(self.model, self._by, paths, alias)
            return statements[alias]

    def fetch(self, value: str, alias: str | None = None) -> Row | None:
        """The raw row, ``fields`` first; text and numbers can be used as they are."""
        alias = alias or router.db_for_read(self.model)
        with connections[alias].cursor() as cursor:
            cursor.execute(self._compiled(alias).sql, (value,))
            row: Row | None = cursor.fetchone()
        return row

    def convert(self, row: Row, alias: str | None = None) -> Found:
        alias = alias or router.db_for_read(self.model)
        values = self._compiled(alias).convert(row)
        start = len(self._fields)
        fields = dict(zip(self._fields, values, strict=False))
        instances = []
        for part in self._parts:
            end = start + len(part.attnames)
            instances.append(part.build(alias, values[start:end]))
            start = end
        return Found(fields, instances)


class _Part:
    """One model instance out of the values of a row."""

    def __init__(self, model: Any, path: str, wanted: Wanted) -> None:
        self._model = model._meta.get_field(path).related_model if path else model
        fields = self._model._meta.concrete_fields
        self.attnames = [f.attname for f in fields if f.primary_key or wanted(f.name)]
        self.paths = [f"{path}__{name}" if path else name for name in self.attnames]
        self._pk = self.attnames.index(self._model._meta.pk.attname)

    def build(self, alias: str, values: Row) -> Any:
        if values[self._pk] is None:  # a foreign key to nothing
            return None
        return self._model.from_db(alias, self.attnames, values)


class _Statement:
    def __init__(self, model: type[Model], by: str, paths: Sequence[str], alias: str) -> None:
        query = model._default_manager.filter(**{by: ""}).query
        query.add_fields(paths)  # as values_list() does, but for an alias to each column
        self._compiler = query.get_compiler(alias)
        self.sql, _ = self._compiler.as_sql()
        self._converters = self._compiler.get_converters([c for c, *_ in self._compiler.select])

    def convert(self, row: Row) -> Row:
        values: Row
        (values,) = self._compiler.apply_converters([row], self._converters)
        return values
