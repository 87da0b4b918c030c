"""Widgets and base classes of the admin: Django's, or django-unfold's if it is installed."""

from typing import TYPE_CHECKING, Any, ClassVar, Final

from django import forms
from django.apps import apps
from django.contrib import admin
from django.contrib.admin import widgets
from django.contrib.admin.views.main import ChangeList as DjangoChangeList
from django.http import HttpRequest

from ..databases import transactions

#: The folder in ``admin/apikeys/`` with the templates of this theme.
THEME: Final = "unfold" if apps.is_installed("unfold") else "plain"

Checkbox: Any = forms.CheckboxInput
Checkboxes: Any = forms.CheckboxSelectMultiple
Number: Any = forms.NumberInput
Password: Any = forms.PasswordInput
Select: Any = forms.Select
SplitDateTime: Any = widgets.AdminSplitDateTime
Text: Any = widgets.AdminTextInputWidget
Textarea: Any = widgets.AdminTextareaWidget

if TYPE_CHECKING:
    ChangeList = DjangoChangeList
    _ModelAdmin = admin.ModelAdmin[Any]
elif THEME == "plain":
    ChangeList = DjangoChangeList
    _ModelAdmin = admin.ModelAdmin
else:
    from unfold import admin as unfold
    from unfold import widgets as unfolded
    from unfold.views import ChangeList as UnfoldChangeList

    ChangeList = UnfoldChangeList
    _ModelAdmin = unfold.ModelAdmin
    Checkbox = unfolded.UnfoldBooleanWidget
    Checkboxes = unfolded.UnfoldAdminCheckboxSelectMultipleWidget
    Number = unfolded.UnfoldAdminIntegerFieldWidget
    Password = unfolded.UnfoldAdminPasswordWidget
    Select = unfolded.UnfoldAdminSelectWidget
    SplitDateTime = unfolded.UnfoldAdminSplitDateTimeWidget
    Text = unfolded.UnfoldAdminTextInputWidget
    Textarea = unfolded.UnfoldAdminTextareaWidget


class ModelAdmin(_ModelAdmin):
    """Run the writing views in ``transactions.atomic``, because they read before they write."""

    class Media:
        css: ClassVar = {"all": ["apikeys/admin.css"]}

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.method != "POST":
            return super().changeform_view(request, *args, **kwargs)
        with transactions.atomic(self.model):
            return super().changeform_view(request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.method != "POST":
            return super().delete_view(request, *args, **kwargs)
        with transactions.atomic(self.model):
            return super().delete_view(request, *args, **kwargs)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        with transactions.atomic(self.model):
            super().delete_queryset(request, queryset)
