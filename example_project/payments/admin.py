"""The admin page of a user links to the user's tokens and keys."""

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin

from apikeys.admin import KeysOfUser

admin.site.unregister(get_user_model())


@admin.register(get_user_model())
class PeopleAdmin(KeysOfUser, UserAdmin):  # type: ignore[type-arg]
    pass
