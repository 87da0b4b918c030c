"""Find one row by a unique column, with its related rows, by a query that is compiled once.

Building a query takes most of the time of the ORM. Here the ORM builds it once per thread, so
that it stays portable and works with swapped models. A request only executes it.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.models import Model
from django.db.models.base import ModelState
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init

from ..models.metadata import MetadataField
from ..models.owners import SHOWN, is_shown

Row = Sequence[Any]
Wanted = Callable[[str], bool]


def all_except(*names: str) -> Wanted:
    """Fetch all fields except these."""
    return lambda name: name not in names


def fields(*names: str) -> Wanted:
    """Fetch only these fields and the primary key."""
    return lambda name: name in names


class Group(NamedTuple):
    """Fields whose values are one tuple in a row."""

    fields: tuple[str, ...]
    #: The values of most rows, which share this tuple.
    usual: tuple[Any, ...]


class Lookup:
    """Find the row of ``model`` with a given value in the column ``by``.

    A row starts with the values of ``fields``. ``instances`` maps each relation to fetch, or
    ``""`` for the row itself, to the fields to fetch; all other fields are deferred. ``owners``
    names the relations whose default manager must also show the row, because a join ignores
    managers. A row ends with one boolean for each owner.
    """

    def __init__(
        self,
        model: Any,
        by: str,
        fields: Sequence[str | Group] = (),
        instances: Mapping[str, Wanted] = {},
        owners: Collection[str] = (),
    ) -> None:
        self.model = model
        self._by = by
        self.fields = fields
        self._groups = [(at, each) for at, each in enumerate(fields) if isinstance(each, Group)]
        self._instances = instances
        self._owners = owners
        self._local = threading.local()

    @cached_property
    def _slices(self) -> "list[tuple[_Part, int, int, int | None]]":
        """For each instance: its columns in a row, and the position of its boolean as an owner."""
        slices, start = [], len(self.fields)
        owners = [path for path in self._instances if path in self._owners]
        for path, wanted in self._instances.items():
            part = _Part(self.model, path, wanted)
            end = start + len(part.attnames)
            answer = owners.index(path) - len(owners) if path in owners else None
            slices.append((part, start, end, answer))
            start = end
        return slices

    def _compiled(self, alias: str) -> "_Statement":
        statements: dict[str, _Statement] = self._local.__dict__
        try:
            return statements[alias]
        except KeyError:
            paths = [name for each in self.fields for name in _names(each)]
            paths += [path for part, *_ in self._slices for path in part.paths]
            statements[alias] = _Statement(self.model, self._by, paths, alias)
            return statements[alias]

    def find(self, value: Any, alias: str | None = None) -> Row | None:
        """Return the row as Python values, ``fields`` first, or ``None``. Takes one query."""
        alias = alias or self._alias()
        statement = self._compiled(alias)
        with connections[alias].cursor() as cursor:
            cursor.execute(statement.sql, (value,))
            # Do not use fetchone(): Django builds a wrapper for it at each call.
            row: Row | None = next(iter(cursor), None)
        return None if row is None else self._judged(self._grouped(statement.convert(row)), alias)

    def _alias(self) -> str:
        # Without routers, Django takes a few microseconds to choose the only database.
        return router.db_for_write(self.model) if router.routers else DEFAULT_DB_ALIAS

    def _grouped(self, row: list[Any]) -> list[Any]:
        for at, group in self._groups:
            values = tuple(row[at : at + len(group.fields)])
            row[at : at + len(values)] = [group.usual if values == group.usual else values]
        return row

    def _judged(self, row: list[Any], alias: str) -> Row:
        answers = []
        for part, start, end, answer in self._slices:
            if answer is not None:
                pk = part.pk_of(row[start:end])
                answers.append(pk is None or is_shown(part.model, pk, alias))
        return row + answers

    def build(self, row: Row) -> list[Any]:
        """Return the model instances in a row, in the order of ``instances``. Makes no query."""
        alias = self._alias()
        instances = []
        for part, start, end, answer in self._slices:
            instance = part.build(alias, row[start:end])
            if answer is not None and instance is not None:
                instance.__dict__[SHOWN] = row[answer]
            instances.append(instance)
        return instances

    def tags_of(self, row: Row) -> list[tuple[type[Model], Any]]:
        """Return the models and primary keys of all instances in a row."""
        pks = [(part.model, part.pk_of(row[start:end])) for part, start, end, _ in self._slices]
        if "pk" in self.fields:
            pks.append((self.model, row[self.fields.index("pk")]))
        return [(model, pk) for model, pk in pks if pk is not None]


def _names(field: str | Group) -> Sequence[str]:
    return field.fields if isinstance(field, Group) else [field]


class _Part:
    """Builds one model instance from the values of a row."""

    def __init__(self, model: Any, path: str, wanted: Wanted) -> None:
        for name in path.split("__") if path else ():
            model = model._meta.get_field(name).related_model
        self.model, self.path = model, path
        fields = [f for f in model._meta.concrete_fields if f.primary_key or wanted(f.name)]
        self.attnames = [f.attname for f in fields]
        self.paths = [f"{path}__{name}" if path else name for name in self.attnames]
        self._pk = self.attnames.index(model._meta.pk.attname)
        others = [at for at in range(len(fields)) if at != self._pk]
        #: Columns that cannot all be NULL if the row exists. Excludes the primary key: its value
        #: comes from the referring column, which is set even if the row was deleted.
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
        if not self._is_plain or (
            (pre_init.receivers or post_init.receivers) and _is_listened_to(self.model)
        ):
            return self.model.from_db(alias, self.attnames, values)
        # The same as from_db(), in a fraction of the time.
        instance = self.model.__new__(self.model)
        instance._state = state = ModelState()
        state.adding, state.db = False, alias
        instance.__dict__.update(zip(self.attnames, values, strict=True))
        return instance


def _is_plain(model: Any, fields: Iterable[Any]) -> bool:
    """Return whether building an instance only sets attributes, without custom code."""
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
    return bool(pre_init.has_listeners(model) or post_init.has_listeners(model))


class _Statement:
    def __init__(self, model: type[Model], by: str, paths: Sequence[str], alias: str) -> None:
        query = model._default_manager.filter(**{by: ""}).order_by().query
        query.add_fields(paths)  # like values_list(), but without column aliases
        # Use short names: Django's SQLite backend scans the whole statement at each call.
        query.change_aliases({name: f"t{n}" for n, name in enumerate(query.alias_map)})
        compiler = query.clone().get_compiler(alias)  # a clone forgets the old names
        self.sql, _ = compiler.as_sql()
        self._connection = compiler.connection
        self._converters = [
            (at, functions, expression)
            for at, (functions, expression) in compiler.get_converters(
                # Metadata stays text, because few requests read it.
                [
                    None if isinstance(column.target, MetadataField) else column
                    for column, *_ in compiler.select
                ]
            ).items()
        ]

    def convert(self, row: Row) -> list[Any]:
        values = list(row)
        for at, functions, expression in self._converters:
            for function in functions:
                values[at] = function(values[at], expression, self._connection)
        return values
