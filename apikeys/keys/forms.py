"""Form fields that the settings pages and the admin share."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _

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
