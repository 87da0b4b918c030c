"""Require a recent login for a user's first consent to a third-party client (``CONSENT_SUDO``)."""

from contextlib import suppress
from typing import Any, Final

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch

from ..web.sudo import get_sudo
from . import consent
from .conf import oauth_settings

_DRAFT: Final = "apikeys_consent_draft"
_KEPT: Final = ("reach", "projects", "access")
_MOST_PROJECTS: Final = 1000


def is_missing(request: HttpRequest, application: Any) -> bool:
    """Return whether the user must log in again before authorizing ``application``."""
    if (
        not oauth_settings.CONSENT_SUDO
        or application.client_id in oauth_settings.FIRST_PARTY_CLIENTS
    ):
        return False
    return not get_sudo().is_recent(request) and not consent.was_given(request.user, application)


def ask(request: HttpRequest, url: str) -> HttpResponse:
    """Redirect the user to log in again, then back to ``url``. Keep the form in the session."""
    if request.method == "POST":
        entered = {name: request.POST.getlist(name)[:_MOST_PROJECTS] for name in _KEPT}
        request.session[_DRAFT] = {"url": url, "entered": entered}
    with suppress(NoReverseMatch):  # the settings pages are not mounted
        return HttpResponseRedirect(get_sudo().url(request, url))
    return redirect_to_login(url)


def draft(request: HttpRequest, url: str) -> dict[str, Any]:
    """Return the form values that ``ask`` kept for ``url``, and delete them."""
    kept = request.session.get(_DRAFT)
    if request.method == "POST" or not kept or kept["url"] != url:
        return {}
    del request.session[_DRAFT]
    entered = kept["entered"]
    chosen = {name: entered[name][-1] for name in ("reach", "access") if entered.get(name)}
    return {"projects": entered["projects"]} | chosen
