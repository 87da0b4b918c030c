from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _

from ..admin.forms import may_mint_for
from ..admin.lists import ListAdmin
from ..admin.sites import manages
from . import denials
from .conf import issuers_settings
from .models import Denial, Identity

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]
else:
    _ModelForm = forms.ModelForm


class IssuerForm(_ModelForm):
    #: The user of the admin.
    by: Any = None

    def clean_issuer(self) -> str:
        issuer: str = self.cleaned_data["issuer"]
        if issuer not in issuers_settings.ISSUERS:
            known = ", ".join(issuers_settings.ISSUERS) or "-"
            message = _("Enter an issuer of this site, exactly: %(issuers)s.")
            raise forms.ValidationError(message % {"issuers": known})
        return issuer


class IdentityForm(IssuerForm):
    def clean_user(self) -> Any:
        user = self.cleaned_data["user"]
        if not may_mint_for(self.by, user):
            raise forms.ValidationError(
                _(
                    "An identity acts as its user. To add one for another user, you need "
                    "permission to change users. Only a superuser can add one for a superuser."
                )
            )
        return user


class IssuerAdmin(ListAdmin):
    sortable_by = ()
    readonly_fields = ("created_at",)
    ordering = ("-created_at",)
    #: The fields of the primary key, and the user: they cannot change.
    fixed: tuple[str, ...] = ()

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"by": request.user})

    def get_readonly_fields(self, request: Any, obj: Any = None) -> Any:
        return (*self.fixed, *self.readonly_fields) if obj else self.readonly_fields


@manages(Identity)
class IdentityAdmin(IssuerAdmin):
    form = IdentityForm
    fixed = ("issuer", "subject", "user")
    list_display = ("subject", "issuer", "user", "created_at")
    list_select_related = ("user",)
    raw_id_fields = ("user",)
    search_fields = ("subject",)
    search_help_text = _("Searches the start of a subject or username.")
    begins = ("subject",)
    related = {"user": ""}


@manages(Denial)
class DenialAdmin(IssuerAdmin):
    form = IssuerForm
    fixed = ("issuer", "what", "value")
    list_display = ("what", "value", "issuer", "created_at", "reason")
    search_fields = ("value",)
    search_help_text = _("Searches the start of a value.")
    begins = ("value",)

    def save_model(self, request: Any, obj: Denial, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        # It also ends the keys that were created with the token.
        row, _is_new = denials.deny(obj.what, obj.issuer, obj.value, reason=obj.reason)
        obj.pk = row.pk
