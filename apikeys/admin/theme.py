"""What the admin's pages are made of: Django's parts, or django-unfold's where it is installed."""

from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.apps import apps
from django.contrib import admin
from django.contrib.admin import widgets
from django.contrib.admin.views.main import ChangeList as DjangoChangeList

#: The folder of ``admin/apikeys/`` with the templates of these parts.
THEME: Final = "unfold" if apps.is_installed("unfold") else "plain"

Checkboxes: Any = forms.CheckboxSelectMultiple
Number: Any = forms.NumberInput
Password: Any = forms.PasswordInput
SplitDateTime: Any = widgets.AdminSplitDateTime
Text: Any = widgets.AdminTextInputWidget

if TYPE_CHECKING:
    ChangeList = DjangoChangeList
    ModelAdmin = admin.ModelAdmin[Any]
elif THEME == "plain":
    ChangeList = DjangoChangeList
    ModelAdmin = admin.ModelAdmin
else:
    from unfold import admin as unfold
    from unfold import widgets as unfolded
    from unfold.views import ChangeList as UnfoldChangeList

    ChangeList = UnfoldChangeList
    ModelAdmin = unfold.ModelAdmin
    Checkboxes = unfolded.UnfoldAdminCheckboxSelectMultipleWidget
    Number = unfolded.UnfoldAdminIntegerFieldWidget
    Password = unfolded.UnfoldAdminPasswordWidget
    SplitDateTime = unfolded.UnfoldAdminSplitDateTimeWidget
    Text = unfolded.UnfoldAdminTextInputWidget
