from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import authentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from ..databases.lists import note_change


class CSRFFailed(PermissionDenied):
    default_code = "csrf_failed"
    default_detail = _("Send the value of the `csrftoken` cookie in the X-CSRFToken header.")


class SessionAuthentication(authentication.SessionAuthentication):
    """Authenticate by Django's session. Raise ``CSRFFailed`` if the CSRF token is invalid."""

    def authenticate(self, request: Request) -> Any:
        found = super().authenticate(request)
        if found is not None:
            note_change(request._request)
        return found

    def enforce_csrf(self, request: Request) -> None:
        try:
            super().enforce_csrf(request)
        except PermissionDenied:
            raise CSRFFailed from None
