"""Forms over ``lifecycle``: it alone knows what is allowed, so they ask it by trying."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth import get_user_model
from django.core import signing
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import lifecycle, scopes, token
from ..fields import WordsField
from ..lifecycle import LifecycleError
from ..models import PersonalAccessToken, ProjectKey
from . import theme

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]
else:
    _ModelForm = forms.ModelForm

_SALT = "apikeys.admin.mint"
_FORM_AGE = 24 * 60 * 60  # seconds for which a form can be sent
_LIFETIME = timedelta(days=90)  # of a personal access token, unless somebody says otherwise


class KeyForm(_ModelForm):
    """A ``LifecycleError`` is an error of the field it names. Nothing but lifecycle writes."""

    #: The user who fills it in; the admin sets it.
    by: Any = None

    name = forms.CharField(
        label=gettext_lazy("Name"),
        widget=theme.Text,
        help_text=gettext_lazy("What it is for, to tell it from others."),
    )
    scopes = forms.MultipleChoiceField(label=gettext_lazy("Scopes"), widget=theme.Checkboxes)
    expires_at = forms.SplitDateTimeField(
        label=gettext_lazy("Expires at"),
        required=False,
        widget=theme.SplitDateTime,
        help_text=gettext_lazy("Leave it empty for a key without expiry."),
    )
    allowed_networks = WordsField(
        label=gettext_lazy("Allowed networks"),
        required=False,
        widget=theme.Text,
        help_text=gettext_lazy("From where alone it works, such as 203.0.113.0/24."),
    )
    rate_limits = WordsField(
        label=gettext_lazy("Rate limits"),
        required=False,
        widget=theme.Text,
        help_text=gettext_lazy("How often it works, such as 1000/hour."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "scopes" in self.fields:
            has = self.instance.scopes if self.instance.pk else ()
            told = dict(scopes.declared())
            told |= {name: _("not declared any more") for name in has if name not in told}
            self.fields["scopes"].choices = [  # type: ignore[attr-defined]
                (name, f"{name}: {text}") for name, text in told.items()
            ]
            self.initial = {"scopes": list(has)} | dict(self.initial)
        if "expires_at" in self.fields:
            parts: Any = self.fields["expires_at"].widget
            for part, label in zip(parts.widgets, (_("Date"), _("Time")), strict=True):
                part.attrs["aria-label"] = label

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        for name in ("user", "project", "projects"):
            if any(self.has_error(name, code) for code in ("invalid_choice", "invalid_pk_value")):
                _forget(self, name)  # the widget would look in the database for what is no id
        if data.get("all_projects") and data.get("projects"):
            message = _("Either all projects, or those that you select: not both.")
            self.add_error("projects", message)
        return data

    def _post_clean(self) -> None:
        # Django would write the answers into the instance here, and save it later.
        if self.errors:
            return
        try:
            self.carry_out(self.cleaned_data)
        except LifecycleError as error:
            field = error.field if error.field in self.fields else None
            self.add_error(field, error.message)
            if error.code == "secret_in_text" and field:
                _forget(self, field)

    def carry_out(self, data: dict[str, Any]) -> None:
        raise NotImplementedError

    def _projects(self, data: dict[str, Any]) -> list[Any] | None:
        return None if data["all_projects"] else list(data["projects"])


class MintForm(KeyForm):
    """``minted`` is the new key with its text, once the form is valid."""

    minted: lifecycle.Minted[Any]

    #: The id of the key that it makes, so that it makes one key however often it is sent.
    once = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial = {"once": signing.dumps(token.generate_id(), salt=_SALT)} | dict(self.initial)
        if self._meta.model is PersonalAccessToken:
            self.initial = {"expires_at": timezone.now() + _LIFETIME} | dict(self.initial)

    def clean_once(self) -> str | None:
        if not (text := self.cleaned_data["once"]):
            return None
        try:
            return str(signing.loads(text, salt=_SALT, max_age=_FORM_AGE))
        except signing.BadSignature:
            _forget(self, "once")
            message = _("This form was open for too long. Look it over and send it.")
            self.add_error(None, message)
            return None

    def clean_user(self) -> Any:
        user = self.cleaned_data["user"]
        if not may_mint_for(self.by, user):
            raise forms.ValidationError(
                _(
                    "Whoever makes a token acts as its user. For somebody else it takes the "
                    "permission to change users, and for a superuser, a superuser."
                ),
                code="not_allowed",
            )
        return user

    def carry_out(self, data: dict[str, Any]) -> None:
        common = {key: data[key] for key in _EDITED} | {"public_id": data["once"]}
        if self._meta.model is ProjectKey:
            self.minted = lifecycle.mint(project=data["project"], by=self.by, **common)
        else:
            projects = self._projects(data)
            self.minted = lifecycle.mint(user=data["user"], projects=projects, by=self.by, **common)
        self.instance = self.minted.key


class EditForm(KeyForm):
    """``changes`` is what ``lifecycle.edit`` answered, once the form is valid."""

    changes: dict[str, tuple[Any, Any]]

    def carry_out(self, data: dict[str, Any]) -> None:
        # What nobody touched here stays as somebody else may have made it meanwhile.
        changed = {name: data[name] for name in self.changed_data if name in _EDITED}
        if {"all_projects", "projects"} & set(self.changed_data):
            changed["projects"] = self._projects(data)
        self.changes = lifecycle.edit(self.instance, by=self.by, **changed)


_EDITED = ("name", "scopes", "expires_at", "allowed_networks", "rate_limits")


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=PersonalAccessToken._meta.get_field("revoked_reason").max_length,
        widget=theme.Text,
        help_text=gettext_lazy("For whoever asks later. Never write a key here."),
    )

    def clean_reason(self) -> str:
        reason: str = self.cleaned_data["reason"]
        if token.holds_key(reason):
            _forget(self, "reason")
            raise forms.ValidationError(
                _("That holds a key. Write its id instead: the 16 characters before the secret."),
                code="secret_in_text",
            )
        return reason


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
        help_text=gettext_lazy("The whole text. It is compared and then forgotten."),
    )


class ConfirmForm(forms.Form):
    pass


def _forget(form: Any, field: str) -> None:
    """Have the page not repeat what was entered there."""
    form.data = form.data.copy()
    form.data[form.add_prefix(field)] = ""


def may_mint_for(by: Any, user: Any) -> bool:
    """Whether ``by``, who may add tokens, may add one of ``user``'s, and so act as ``user``.

    Who may change users could set that user's password as well.
    """
    if by == user or by.is_superuser:
        return True
    if getattr(user, "is_superuser", False):
        return False
    meta = get_user_model()._meta
    return bool(by.has_perm(f"{meta.app_label}.change_{meta.model_name}"))
