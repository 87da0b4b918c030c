"""Declare settings with default, rule, description and system check."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar, overload

from django.conf import settings
from django.core.checks import Error
from django.core.signals import setting_changed

from .rules import Rule

T = TypeVar("T")

_READ_FROM = {"APIKEYS", "SECRET_KEY", "SECRET_KEY_FALLBACKS"}


def given() -> Mapping[str, Any]:
    """Return what the site wrote in ``APIKEYS``."""
    written = getattr(settings, "APIKEYS", {})
    return written if isinstance(written, Mapping) else {}  # reported by a system check


class Setting(Generic[T]):
    """One entry of ``APIKEYS``, read at its first use.

    The value is then stored in the ``__dict__`` of its table. Python looks there before it
    calls a descriptor without ``__set__``, so every later use is a plain attribute.
    """

    name: str

    def __init__(
        self,
        default: object,
        rule: Rule[T],
        about: str,
        *,
        check: str,
        hint: str = "",
        default_words: str = "",
    ) -> None:
        self.default = default
        self.rule = rule
        #: The description in ``docs/reference/settings.md``, in Markdown.
        self.about = about
        #: The ID of the system check that reports an invalid value.
        self.check = f"apikeys.{check}"
        self.hint = hint
        #: Describes a computed default.
        self.default_words = default_words

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, table: None, owner: type) -> "Setting[T]": ...

    @overload
    def __get__(self, table: "Table", owner: type) -> T: ...

    def __get__(self, table: "Table | None", owner: type) -> "Setting[T] | T":
        if table is None:
            return self
        value = self.rule.parse(self.given())
        table.__dict__[self.name] = value
        return value

    def given(self) -> Any:
        """Return the value in the settings, or the default."""
        return given().get(self.name, self.default)

    def error(self) -> Error | None:
        """Return the error of an invalid value, or ``None``. It never shows the value."""
        reason = self.rule.why_not(self.given())
        if reason is None:
            return None
        because = f" ({reason})" if reason else ""
        return Error(
            f"APIKEYS[{self.name!r}] is invalid{because}. It must be {self.rule.words}.",
            hint=self.hint or f"Omit it for the default, {self.default!r}.",
            id=self.check,
        )


class Table:
    """The settings of one part of the package. An instance returns their values."""

    def __init__(self) -> None:
        setting_changed.connect(self._on_change)

    @classmethod
    def declared(cls) -> list[Setting[Any]]:
        """Return the declared settings."""
        return [each for each in vars(cls).values() if isinstance(each, Setting)]

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the settings."""
        return [each.name for each in cls.declared()]

    @classmethod
    def errors(cls) -> list[Error]:
        """Return an error for each invalid value."""
        return [error for each in cls.declared() if (error := each.error())]

    def reload(self) -> None:
        """Clear the values, so that they are read again."""
        self.__dict__.clear()

    def _on_change(self, *, setting: str, **kwargs: object) -> None:
        if setting in _READ_FROM:
            self.reload()


def all_names() -> list[str]:
    """Return the names of all settings, also of parts that are not installed."""
    return [name for table in Table.__subclasses__() for name in table.names()]
