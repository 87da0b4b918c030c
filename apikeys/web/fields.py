"""Form fields, and a base form that refuses pasted keys."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Final

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables

from .. import moments, token
from ..errors import LifecycleError
from ..keys.forms import ConsistentForm, WordsField
from ..lifecycle.cleaning import clean_public_key
from ..redaction import redact

INVALID_DAY: Final = gettext_lazy("Enter a date, such as 2030-12-31.")


class ProjectsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    widget = forms.CheckboxSelectMultiple

    def label_from_instance(self, obj: Any) -> str:
        return str(obj)


class KeylessForm(ConsistentForm):
    """Refuse a form with a key in one of its fields, and redact the key when it is shown again."""

    def full_clean(self) -> None:
        super().full_clean()
        if not self.is_bound or not isinstance(self.data, QueryDict):
            return
        data = self.data.copy()
        if self.has_error("public_key"):
            data.setlist("public_key", [])
        for name, values in self.data.lists():
            if any(token.holds_key(str(value)) for value in values):
                data.setlist(name, [redact(str(value)) for value in values])
                message = _(
                    "This text contains a key. Enter the key's ID instead: the 16 characters "
                    "before the secret."
                )
                field = name.partition(":")[0]
                self.errors.pop(field, None)  # the other errors may quote the value
                self.add_error(field if field in self.fields else None, message)
        self.data = data
        self._focus_first_error()

    def _focus_first_error(self) -> None:
        """Give the focus to the first field with an error, also without JavaScript."""
        wrong = next((field for name, field in self.fields.items() if name in self.errors), None)
        if wrong is not None:
            wrong.widget.attrs["autofocus"] = True


class DayField(forms.DateField):
    """A date field for a ``datetime``. ``of_day`` converts the date: see ``Fields.moment``."""

    def __init__(self, of_day: Callable[[date], datetime], **kwargs: Any) -> None:
        super().__init__(
            widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
            error_messages={"invalid": INVALID_DAY},
            **kwargs,
        )
        self._of_day = of_day

    def hides(self, moment: datetime) -> bool:
        """Return whether the day that is shown means another moment than this one."""
        return self._of_day(moments.day_of(moment)) != moment

    def prepare_value(self, value: Any) -> Any:
        return moments.day_of(value) if isinstance(value, datetime) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)

    def clean(self, value: Any) -> Any:
        day = super().clean(value)
        try:
            return None if day is None else self._of_day(day)
        except OverflowError:
            raise forms.ValidationError(self.error_messages["invalid"], "invalid") from None


class PageFields:
    """Build the form fields of restrictions for the settings pages."""

    def words(self, *, lines: int = 1, **kwargs: Any) -> forms.Field:
        attrs = {"autocomplete": "off"}
        if lines == 1:
            return WordsField(required=False, widget=forms.TextInput(attrs=attrs), **kwargs)
        attrs |= {"rows": str(lines), "spellcheck": "false"}
        return WordsField("\n", required=False, widget=forms.Textarea(attrs=attrs), **kwargs)

    def tick(self, **kwargs: Any) -> forms.Field:
        return forms.BooleanField(required=False, **kwargs)

    def moment(self, of_day: Callable[[date], datetime], **kwargs: Any) -> forms.Field:
        return DayField(of_day, required=False, **kwargs)


class PublicKeyField(forms.CharField):
    """A public key, validated by ``lifecycle``. A private key is refused and not shown again."""

    widget = forms.Textarea(
        attrs={
            "rows": 4,
            "autocomplete": "off",
            "spellcheck": "false",
            "placeholder": "-----BEGIN PUBLIC KEY-----",
        }
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(label=gettext_lazy("Public key"), **kwargs)

    @sensitive_variables()
    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if not text:
            return ""
        try:
            return clean_public_key(text)
        except LifecycleError as error:
            message, code = error.message, error.code
        raise forms.ValidationError(message, code)


def may_be_kept(text: str) -> bool:
    """Whether ``text`` is a valid public key. Private keys must not be stored."""
    try:
        clean_public_key(text)
    except LifecycleError:
        return False
    return True
