"""Form fields that more than one of the surfaces has."""

from typing import Any

from django import forms


class WordsField(forms.CharField):
    """Words, separated by spaces, commas or lines; the value is a list of them."""

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):
            return value
        return (super().to_python(value) or "").replace(",", " ").split()

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(initial) != self.to_python(data))
