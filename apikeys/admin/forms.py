"""The forms for keys. ``lifecycle`` validates and saves them, and raises the errors to show."""

from collections.abc import Callable, Container
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth import get_user_model
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import lifecycle, moments, restrictions, scopes, token
from ..errors import LifecycleError
from ..keys import once, trust_forms
from ..keys.forms import MetadataField, WordsField
from ..keys.trust_forms import TrustForm
from ..lifecycle.metadata import clean as clean_metadata
from ..models import PersonalAccessToken, ProjectKey
from ..models.texts import TEXTS
from ..restrictions import RESTRICTIONS
from . import theme

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]
else:
    _ModelForm = forms.ModelForm

_SALT = "apikeys.admin.mint"
#: The fields with another name than the argument of ``lifecycle``.
_FIELDS = {"trust": "claims", "metadata": "stored_metadata"}
_LIFETIME = timedelta(days=90)  # the initial value for a personal access token


class MomentField(forms.SplitDateTimeField):
    """A date and an optional time. ``of_day`` converts a bare date to its start or its end."""

    def __init__(self, of_day: Callable[[date], datetime], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._of_day = of_day

    def compress(self, data_list: Any) -> Any:
        if data_list and data_list[0] and not data_list[1]:
            try:
                return self._of_day(data_list[0])
            except OverflowError:
                raise forms.ValidationError(
                    self.error_messages["invalid_date"], "invalid_date"
                ) from None
        return super().compress(data_list)


class AdminFields:
    """Build the form fields of restrictions for the admin."""

    def words(self, *, lines: int = 1, **kwargs: Any) -> forms.Field:
        if lines == 1:
            return WordsField(required=False, widget=theme.Text, **kwargs)
        widget = theme.Textarea(attrs={"rows": lines})
        return WordsField("\n", required=False, widget=widget, **kwargs)

    def tick(self, **kwargs: Any) -> forms.Field:
        return forms.BooleanField(required=False, widget=theme.Checkbox, **kwargs)

    def moment(self, of_day: Callable[[date], datetime], **kwargs: Any) -> forms.Field:
        return MomentField(of_day, required=False, widget=theme.SplitDateTime, **kwargs)


class AdminKeyForm(TrustForm, _ModelForm):
    """Save with ``lifecycle``, and show a ``LifecycleError`` at the field that it names."""

    #: The user who submits the form, set by the admin.
    by: Any = None

    name = forms.CharField(
        label=gettext_lazy("Name"),
        widget=theme.Text,
        help_text=gettext_lazy("A name you will recognise, such as “CI on the build server”."),
    )
    scopes = forms.MultipleChoiceField(label=gettext_lazy("Scopes"), widget=theme.Checkboxes)
    expires_at = MomentField(
        moments.end_of,
        label=gettext_lazy("Expires at"),
        required=False,
        widget=theme.SplitDateTime,
        help_text=gettext_lazy(
            "Leave empty for no expiry. A date without a time means the end of that day."
        ),
    )

    #: Not called as the column, which Django keeps out of forms.
    stored_metadata = MetadataField(clean_metadata, theme.Textarea(attrs={"rows": 4}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["stored_metadata"] = self.instance.metadata
        if "scopes" in self.fields:
            has = self.instance.scopes if self.instance.pk else ()
            texts = dict(scopes.declared())
            texts |= {name: _("no longer declared") for name in has if name not in texts}
            self.fields["scopes"].choices = [  # type: ignore[attr-defined]
                (name, f"{name}: {text}") for name, text in texts.items()
            ]
            self.initial = {"scopes": list(has)} | dict(self.initial)
        for each, value in zip(RESTRICTIONS, restrictions.of(self.instance), strict=True):
            # Remove a field that the page does not show. Otherwise Django would read the missing
            # checkbox as unchecked.
            if each.name not in (self._meta.fields or ()):
                self.fields.pop(each.name, None)
            if self.instance.pk or each.name not in self.initial:
                self.initial[each.name] = each.to_form(value)
        self._offer_workloads()
        for field in self.fields.values():
            if isinstance(field, MomentField):
                parts: Any = field.widget
                for part, label in zip(parts.widgets, (_("Date"), _("Time")), strict=True):
                    part.attrs["aria-label"] = label

    def _offer_workloads(self) -> None:
        if not set(trust_forms.FIELDS) <= set(self._meta.fields or ()):
            return trust_forms.remove(self)
        self.fields["issuer"].widget = theme.Select()
        self.fields["claims"].widget = theme.Textarea(attrs={"rows": 4})
        return self.offer_issuers(self.instance.trust, required=bool(self.instance.trust))

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        for name in ("user", "project", "projects"):
            if any(self.has_error(name, code) for code in ("invalid_choice", "invalid_pk_value")):
                _forget(self, name)  # the widget would query the database with the invalid ID
        written = self.data.get(self.add_prefix("stored_metadata"), "")
        if self.has_error("stored_metadata") and token.holds_key(written):
            _forget(self, "stored_metadata")
        if data.get("all_projects") and data.get("projects"):
            message = _("Choose all projects or select projects, not both.")
            self.add_error("projects", message)
        return data

    def _post_clean(self) -> None:
        # Django's own method would copy the values to the instance, and save it later.
        if self.errors:
            return
        try:
            self.carry_out(self.cleaned_data)
        except LifecycleError as error:
            field = _FIELDS.get(error.field or "", error.field)
            field = field if field in self.fields else None
            self.add_error(field, error.message)
            if error.code == "secret_in_text" and field:
                _forget(self, field)

    def carry_out(self, data: dict[str, Any]) -> None:
        raise NotImplementedError

    def _given(self, data: dict[str, Any], names: Container[str]) -> dict[str, Any]:
        """Return the values of the fields ``names`` as arguments of ``lifecycle``."""
        plain = (*TEXTS, "scopes", "expires_at")
        given = {name: data[name] for name in plain if name in names}
        if "stored_metadata" in names:
            given["metadata"] = data["stored_metadata"]
        return given | {
            each.name: each.from_form(data[each.name])
            for each in RESTRICTIONS
            if each.name in names and each.name in data
        }

    def _projects(self, data: dict[str, Any]) -> list[Any] | None:
        return None if data["all_projects"] else list(data["projects"])


AdminKeyForm.declared_fields.update({each.name: each.field(AdminFields()) for each in RESTRICTIONS})


class MintForm(AdminKeyForm):
    """Create a key. ``minted`` is the new key and its secret, once the form is valid."""

    minted: lifecycle.Minted[Any]

    #: The ID of the new key, so that submitting the form twice creates one key.
    once = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial = {"once": once.sign(token.generate_id(), _SALT)} | dict(self.initial)
        if self._meta.model is PersonalAccessToken:
            self.initial = {"expires_at": timezone.now() + _LIFETIME} | dict(self.initial)

    def clean_once(self) -> str | None:
        if not (text := self.cleaned_data["once"]):
            return None
        public_id: str | None = once.read(text, _SALT)
        if public_id is None:
            _forget(self, "once")
            message = _("This form was open for too long. Check your entries and submit it again.")
            self.add_error(None, message)
        return public_id

    def clean_user(self) -> Any:
        user = self.cleaned_data["user"]
        if not may_mint_for(self.by, user):
            raise forms.ValidationError(
                _(
                    "A token acts as its user. To create a token for another user, you need "
                    "permission to change users. Only a superuser can create a token for a "
                    "superuser."
                ),
                code="not_allowed",
            )
        return user

    def carry_out(self, data: dict[str, Any]) -> None:
        common = self._given(data, data) | {"public_id": data["once"]}
        if self._meta.model is ProjectKey:
            if trust := data.get("trust"):
                common |= {"trust": trust, "direct_use": False}
            self.minted = lifecycle.mint(project=data["project"], by=self.by, **common)
        else:
            projects = self._projects(data)
            self.minted = lifecycle.mint(user=data["user"], projects=projects, by=self.by, **common)
        self.instance = self.minted.key


class EditForm(AdminKeyForm):
    """Edit a key. ``changes`` is the result of ``lifecycle.edit``, once the form is valid."""

    changes: dict[str, tuple[Any, Any]]

    def carry_out(self, data: dict[str, Any]) -> None:
        # Pass changed fields only, so that concurrent changes of the others are kept.
        changed = self._given(data, self.changed_data)
        if {"all_projects", "projects"} & set(self.changed_data):
            changed["projects"] = self._projects(data)
        if set(trust_forms.FIELDS) & set(self.changed_data) and data["trust"] is not None:
            changed["trust"] = data["trust"]
        self.changes = lifecycle.edit(self.instance, by=self.by, **changed)


class ReasonForm(forms.Form):
    required_css_class = "required"
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=PersonalAccessToken._meta.get_field("revoked_reason").max_length,
        widget=theme.Text,
        help_text=gettext_lazy("Required. Shown in the history. Do not enter a key here."),
    )

    def clean_reason(self) -> str:
        reason: str = self.cleaned_data["reason"]
        if token.holds_key(reason):
            _forget(self, "reason")
            raise forms.ValidationError(
                _(
                    "This text contains a key. Enter the key's ID instead: the 16 characters "
                    "before the secret."
                ),
                code="secret_in_text",
            )
        return reason


class PauseForm(ReasonForm):
    held = forms.BooleanField(
        label=gettext_lazy("Only a site admin can resume it"),
        required=False,
        initial=True,
        widget=theme.Checkbox,
        help_text=gettext_lazy("If you untick this, the owner can resume it too."),
    )


class ExpireForm(forms.Form):
    days = forms.IntegerField(
        label=gettext_lazy("Days from now"),
        min_value=1,
        max_value=3650,
        initial=7,
        widget=theme.Number,
    )


class WholeKeyForm(forms.Form):
    key = forms.CharField(
        label=gettext_lazy("Key"),
        widget=theme.Password(render_value=False, attrs={"autocomplete": "off", "size": 60}),
        help_text=gettext_lazy("Paste the whole key, or its ID. It is compared and not stored."),
    )


class ConfirmForm(forms.Form):
    pass


def _forget(form: Any, field: str) -> None:
    """Empty ``field``, so that the page does not show its value again."""
    form.data = form.data.copy()
    form.data[form.add_prefix(field)] = ""


def may_mint_for(by: Any, user: Any) -> bool:
    """Whether ``by`` may create a token or an identity of ``user``. Its holder acts as ``user``.

    The permission to change users is enough: ``by`` could also set the password of ``user``.
    """
    if by == user or by.is_superuser:
        return True
    if getattr(user, "is_superuser", False):
        return False
    meta = get_user_model()._meta
    return bool(by.has_perm(f"{meta.app_label}.change_{meta.model_name}"))
