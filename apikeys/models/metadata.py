"""The metadata of a key: up to 4 KB of JSON that the site stores with it."""

import json
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _


def as_text(metadata: Any) -> str:
    """Return metadata as compact JSON in one line, for people."""
    return json.dumps(metadata, ensure_ascii=False)


def stored(value: Any) -> str | None:
    """Return the metadata of a loaded key as JSON text, or ``None`` if it is empty.

    A key that a ``Lookup`` loaded has text already.
    """
    return json.dumps(value) if value and not isinstance(value, str) else value or None


class MetadataField(models.JSONField):
    """A JSON object. The database has ``NULL`` for an empty one, which costs nothing to read."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        found = super().from_db_value(value, expression, connection)
        return {} if found is None else found

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return super().get_db_prep_value(value or None, connection, prepared)

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return super().get_db_prep_save(value or None, connection)


class Metadata(models.Model):
    """The column."""

    metadata = MetadataField(
        _("metadata"),
        default=dict,
        null=True,
        blank=True,
        editable=False,
        help_text=_("A JSON object of up to 4 KB that your code can read with each request."),
    )

    class Meta:
        abstract = True
