"""One row by a unique column, its owners included, in one statement that is compiled once.

Most of what an ORM query costs is building it. So the ORM builds this one once per
thread, which keeps it portable and true to swapped models, and a request only runs it.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from django.db import connections, router
from django.db.models import Model
from django.db.models.base import ModelState
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init

Row = Sequence[Any]
Wanted = Callable[[str], bool]


def but(*names: str) -> Wanted:
    """All fields but these."""
    return lambda name: name not in names


def only(*names: str) -> Wanted:
    """These fields, and the primary key."""
    return lambda name: name in names


class Lookup:
    """Finds ``fields`` of the row of ``model`` that has a value in the column ``by``.

    ``instances`` maps the relations to fetch along, or ``""`` for the row itself, to the
    fields wanted of them. The others load when asked for, as Django's deferred fields do.
    """

    def __init__(
        self,
        model: Any,
        by: str,
        fields: Sequence[str] = (),
        instances: Mapping[str, Wanted] = {},
    ) -> None:
        self.model = model
        self._by = by
        self.fields = fields
        self._instances = instances
        self._local = threading.local()

    @cached_property
    def _slices(self) -> "list[tuple[_Part, int, int]]":
        slices, start = [], len(self.fields)
        for path, wanted in self._instances.items():
            part = _Part(self.model, path, wanted)
            slices.append((part, start, start + len(part.attnames)))
            start += len(part.attnames)
        return slices

    def _compiled(self, alias: str) -> "_Statement":
        statements: dict[str, _Statement] = self._local.__dict__
        try:
            return statements[alias]
        except KeyError:
            paths = [*self.fields, *(path for part, *_ in self._slices for path in part.paths)]
            statements[alias] = _Statement(self.model, self._by, paths, alias)
            return statements[alias]

    def find(self, value: Any, alias: str | None = None) -> Row | None:
        """The row as Python values, ``fields`` first. One query."""
        alias = alias or router.db_for_read(self.model)
        statement = self._compiled(alias)
        with connections[alias].cursor() as cursor:
            cursor.execute(statement.sql, (value,))
            # Not fetchone(), around which Django builds a wrapper at each call.
            row: Row | None = next(iter(cursor), None)
        return None if row is None else statement.convert(row)

    def build(self, row: Row) -> list[Any]:
        """The instances that a row was found with, in the order asked for. No query."""
        alias = router.db_for_read(self.model)
        return [part.build(alias, row[start:end]) for part, start, end in self._slices]

    def made_of(self, row: Row) -> list[tuple[type[Model], Any]]:
        """The models and primary keys of all that the row was made of."""
        pks = [(part.model, part.pk_of(row[start:end])) for part, start, end in self._slices]
        if "pk" in self.fields:
            pks.append((self.model, row[self.fields.index("pk")]))
        return [(model, pk) for model, pk in pks if pk is not None]


class _Part:
    """One model instance out of the values of a row."""

    def __init__(self, model: Any, path: str, wanted: Wanted) -> None:
        for name in path.split("__") if path else ():
            model = model._meta.get_field(name).related_model
        self.model = model
        fields = [f for f in model._meta.concrete_fields if f.primary_key or wanted(f.name)]
        self.attnames = [f.attname for f in fields]
        self.paths = [f"{path}__{name}" if path else name for name in self.attnames]
        self._pk = self.attnames.index(model._meta.pk.attname)
        others = [at for at in range(len(fields)) if at != self._pk]
        #: What cannot all be NULL in a row that exists. Not the primary key: for it stands the
        #: column of the reference, so that a reference to a row that is gone has one.
        self._proof = [at for at in others if not fields[at].null][:1] or others
        self._is_plain = _is_plain(model, fields)

    def pk_of(self, values: Row) -> Any:
        return values[self._pk]

    def build(self, alias: str, values: Row) -> Any:
        for at in self._proof:
            if values[at] is not None:
                break
        else:
            return None
        if not self._is_plain or _is_listened_to(self.model):
            return self.model.from_db(alias, self.attnames, values)
        # What that comes to, in a fraction of the time.
        instance = self.model.__new__(self.model)
        instance._state = state = ModelState()
        state.adding, state.db = False, alias
        instance.__dict__.update(zip(self.attnames, values, strict=True))
        return instance


def _is_plain(model: Any, fields: Iterable[Any]) -> bool:
    """Whether to make an instance of a row is to set its attributes and nothing else."""
    return (
        model.from_db.__func__ is Model.from_db.__func__  # type: ignore[attr-defined]
        and model.__init__ is Model.__init__
        and model.__new__ is Model.__new__
        and model.__setattr__ is Model.__setattr__
        and all(
            f.descriptor_class in (DeferredAttribute, ForeignKeyDeferredAttribute) for f in fields
        )
    )


def _is_listened_to(model: Any) -> bool:
    return (bool(pre_init.receivers) and pre_init.has_listeners(model)) or (
        bool(post_init.receivers) and post_init.has_listeners(model)
    )


class _Statement:
    def __init__(self, model: type[Model], by: str, paths: Sequence[str], alias: str) -> None:
        query = model._default_manager.filter(**{by: ""}).order_by().query
        query.add_fields(paths)  # as values_list() does, but for an alias to each column
        # Short names: Django's SQLite backend goes through all of the text at each call.
        query.change_aliases({name: f"t{n}" for n, name in enumerate(query.alias_map)})
        compiler = query.clone().get_compiler(alias)  # a clone has no name left of before
        self.sql, _ = compiler.as_sql()
        self._connection = compiler.connection
        self._converters = [
            (at, functions, expression)
            for at, (functions, expression) in compiler.get_converters(
                [column for column, *_ in compiler.select]
            ).items()
        ]

    def convert(self, row: Row) -> Row:
        values = list(row)
        for at, functions, expression in self._converters:
            for function in functions:
                values[at] = function(values[at], expression, self._connection)
        return values
