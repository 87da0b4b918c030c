from django.utils.translation import gettext_lazy as _
from rest_framework import authentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request


class CSRFFailed(PermissionDenied):
    default_code = "csrf_failed"
    default_detail = _("Send the token of the cookie `csrftoken` as the header X-CSRFToken.")


class SessionAuthentication(authentication.SessionAuthentication):
    """Django's session, with a ``code`` where the CSRF token is missing."""

    def enforce_csrf(self, request: Request) -> None:
        try:
            super().enforce_csrf(request)
        except PermissionDenied:
            raise CSRFFailed from None
