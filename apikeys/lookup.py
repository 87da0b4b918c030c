"""One row of a key and its owner by public id, in one statement that is compiled once.

Most of what an ORM query costs is building it. So the ORM builds this one once per
thread, which keeps it portable and true to swapped models, and a request only runs it.
"""

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.db import connections, router
from django.db.models import Model


class Lookup:
    """Finds the ``fields`` of a key and all of its ``owner`` (the name of a foreign key)."""

    def __init__(self, model: Any, fields: Sequence[str], owner: str) -> None:
        self.model = model
        self._fields = fields
        self._owner = owner
        self._local = threading.local()

    @cached_property
    def _owner_model(self) -> Any:
        return self.model._meta.get_field(self._owner).related_model

    @cached_property
    def _owner_attnames(self) -> list[str]:
        return [field.attname for field in self._owner_model._meta.concrete_fields]

    def _compiled(self, alias: str) -> "_Statement":
        statements: dict[str, _Statement] = self._local.__dict__
        try:
            return statements[alias]
        except KeyError:
            owner = [f"{self._owner}__{attname}" for attname in self._owner_attnames]
            statements[alias] = _Statement(self.model, [*self._fields, *owner], alias)
            return statements[alias]

    def fetch(self, public_id: str) -> Sequence[Any] | None:
        """The raw row, the key's fields first; text and numbers can be used as they are."""
        alias = router.db_for_read(self.model)
        with connections[alias].cursor() as cursor:
            cursor.execute(self._compiled(alias).sql, (public_id,))
            row: Sequence[Any] | None = cursor.fetchone()
        return row

    def convert(self, row: Sequence[Any]) -> tuple[dict[str, Any], Any]:
        """The key's fields by name, and the owner as an instance of its model."""
        alias = router.db_for_read(self.model)
        values = self._compiled(alias).convert(row)
        split = len(self._fields)
        owner = self._owner_model.from_db(alias, self._owner_attnames, values[split:])
        return dict(zip(self._fields, values, strict=False)), owner


class _Statement:
    def __init__(self, model: type[Model], fields: Sequence[str], alias: str) -> None:
        query = model._default_manager.filter(public_id="").values_list(*fields).query
        self._compiler = query.get_compiler(alias)
        self.sql, _ = self._compiler.as_sql()
        self._converters = self._compiler.get_converters([c for c, *_ in self._compiler.select])

    def convert(self, row: Sequence[Any]) -> Sequence[Any]:
        values: Sequence[Any]
        (values,) = self._compiler.apply_converters([row], self._converters)
        return values
