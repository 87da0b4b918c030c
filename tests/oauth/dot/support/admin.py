"""Classes that tests of the settings of the admin name."""

from django.contrib.admin import ModelAdmin

CustomApplicationAdmin, CustomAccessTokenAdmin, CustomGrantAdmin = (
    type(name, (ModelAdmin,), {})
    for name in ("CustomApplicationAdmin", "CustomAccessTokenAdmin", "CustomGrantAdmin")
)
CustomIDTokenAdmin, CustomRefreshTokenAdmin = (
    type(name, (ModelAdmin,), {}) for name in ("CustomIDTokenAdmin", "CustomRefreshTokenAdmin")
)
