"""The texts that people write about a key. They restrict nothing.

A column of ``Texts`` is all that declares one. Its ``verbose_name``, ``help_text`` and
``max_length`` are what the forms, the commands, the JSON API and its schema say of it, and an
index lets the admin search it.
"""

from typing import Any, Final, TypedDict

from django.db import models
from django.utils import translation
from django.utils.translation import gettext_lazy as _


class Texts(models.Model):
    """The columns. Each has an index in ``models.keys``."""

    name = models.CharField(_("name"), max_length=100)
    description = models.CharField(
        _("description"),
        max_length=500,
        blank=True,
        default="",
        db_default="",
        help_text=_("What the key is for, where it is used, and whom to ask about it."),
    )

    class Meta:
        abstract = True


class OptionalTexts(TypedDict, total=False):
    """The arguments of ``mint`` and ``edit`` for the texts that a key need not have."""

    description: str


TEXTS: Final[dict[str, Any]] = {column.name: column for column in Texts._meta.local_fields}
OPTIONAL: Final = {name: column for name, column in TEXTS.items() if column.blank}


def texts_of(key: models.Model) -> dict[str, str]:
    """Return the texts about ``key``, by column."""
    return {name: getattr(key, name) for name in TEXTS}


def put_texts(key: models.Model, texts: dict[str, str]) -> None:
    """Set the columns of ``key`` to ``texts``."""
    for name, text in texts.items():
        setattr(key, name, text)


def about(column: Any) -> str:
    """Return the help of ``column`` in English, for commands and the OpenAPI schema."""
    with translation.override(None):
        return str(column.help_text)
