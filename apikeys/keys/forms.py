"""Form fields that the settings pages and the admin share."""

import json
from collections.abc import Callable
from typing import Any, NoReturn

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..errors import LifecycleError

#: The values of a ``reach`` field: all projects, or the projects selected in ``projects``.
ALL, SELECTED = "all", "selected"


class ConsistentForm(forms.Form):
    """Refuse a form whose values contradict each other.

    The form is then shown again with every value, and with the narrower choice selected. So
    users never grant more than they chose.
    """

    #: The error for "only selected projects" without a selected project.
    NO_PROJECT: Any = ""

    def _clean_fields(self) -> None:
        super()._clean_fields()  # type: ignore[misc]
        for name, field in self.fields.items():
            is_one = isinstance(field, forms.ChoiceField | forms.CharField | forms.BooleanField)
            if is_one and len(set(self._sent(name))) > 1 and not _is_many(field):
                self.add_error(name, _("Choose only one of these."))

    def clean_reach_and_projects(self) -> None:
        """Refuse selected projects with "all projects", and "only selected" without a project."""
        reach, chosen = self.cleaned_data.get("reach"), self._sent("projects")
        if chosen and ALL in (reach, *self._sent("reach")):
            self.add_error(
                "projects",
                _(
                    "You selected projects while “all projects” was chosen. The form now "
                    "uses only the selected projects. Check them and submit the form again."
                ),
            )
            self._answer("reach", SELECTED)
        elif reach == SELECTED and not chosen and "projects" not in self.errors:
            self.add_error("projects", self.NO_PROJECT)

    def _sent(self, name: str) -> list[Any]:
        name = self.add_prefix(name)
        if hasattr(self.data, "getlist"):
            return list(self.data.getlist(name))
        return [value for value in [self.data.get(name)] if value]

    def _answer(self, name: str, value: str) -> None:
        """Show ``value`` in the field ``name`` when the form is rendered again."""
        data = self.data.copy()  # type: ignore[attr-defined]
        data[self.add_prefix(name)] = value
        self.data = data


def _is_many(field: forms.Field) -> bool:
    return isinstance(field, forms.MultipleChoiceField) or isinstance(
        field.widget, forms.SelectMultiple | forms.CheckboxSelectMultiple
    )


def read_metadata(text: str) -> dict[str, Any]:
    """Parse a JSON object as people write it.

    Raises ``ValueError`` that says what is wrong, with line and column.
    """
    try:
        found = json.loads(text, parse_constant=_refuse, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        message = _("This is not JSON: look at line %(line)d, column %(column)d.")
        raise ValueError(message % {"line": error.lineno, "column": error.colno}) from None
    except RecursionError:
        raise ValueError(_("This JSON is nested too deeply.")) from None
    if not isinstance(found, dict):
        raise ValueError(_('The metadata must be a JSON object, such as {"team": "billing"}.'))
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(_("JSON has no %(constant)s.") % {"constant": constant})


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _value in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(_("The name “%(name)s” occurs twice.") % {"name": twice[:100]})
    return found


def indented(metadata: Any) -> str:
    """Return metadata as JSON on several lines; an empty string for none."""
    return json.dumps(metadata, ensure_ascii=False, indent=2) if metadata else ""


class MetadataField(forms.CharField):
    """Accept a JSON object as text. ``check`` of ``lifecycle`` validates it."""

    def __init__(self, check: Callable[[Any], Any], widget: Any, **kwargs: Any) -> None:
        self._check = check
        super().__init__(
            label=gettext_lazy("Metadata"),
            required=False,
            strip=False,
            widget=widget,
            help_text=gettext_lazy(
                'Optional. A JSON object of up to 4 KB, such as {"team": "billing"}. The site can '
                "read it with each request. Do not enter secrets."
            ),
            **kwargs,
        )

    def prepare_value(self, value: Any) -> Any:
        return indented(value) if isinstance(value, dict) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        text = super().to_python(value) or ""
        try:
            return read_metadata(text) if text.strip() else {}
        except ValueError as error:
            raise forms.ValidationError(str(error), "invalid_metadata") from None

    def clean(self, value: Any) -> Any:
        read = self.to_python(value)
        try:
            return self._check(read)
        except LifecycleError as error:
            raise forms.ValidationError(error.message, error.code) from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(initial or "") != self.to_python(data))
        except forms.ValidationError:
            return True


class WordsField(forms.CharField):
    """Accept words separated by spaces, commas or newlines. The cleaned value is a list."""

    def __init__(self, separator: str = " ", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._separator = separator

    def prepare_value(self, value: Any) -> Any:
        return self._separator.join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):
            return value
        return (super().to_python(value) or "").replace(",", " ").split()

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(initial) != self.to_python(data))
