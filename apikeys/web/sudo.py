"""Require a recent log-in to create, rotate, widen or approve a key (``SUDO_MAX_AGE``).

Otherwise an attacker could turn an unattended or stolen session into a key that outlives it.
"""

import time
from typing import Any, Final, cast

from django.apps import apps
from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from ..conf import app_settings
from ..limits import attempts

__all__ = ["AllauthSudo", "PasswordSudo", "Sudo"]

_STAMP: Final = "apikeys_logged_in_at"

#: How many passwords a user may try in ``WINDOW`` seconds. Further tries are refused unchecked.
TRIES: Final = 5
WINDOW: Final = 15 * 60


class Sudo:
    """Base class of the setting ``APIKEYS["SUDO"]``: how users confirm their identity.

    Subclass it to use your own confirmation.
    """

    def is_recent(self, request: HttpRequest) -> bool:
        """Whether the user logged in or confirmed their identity within ``SUDO_MAX_AGE``."""
        raise NotImplementedError

    def url(self, request: HttpRequest, next_url: str) -> str:
        """Return the URL of the page that confirms the user's identity.

        The page must redirect to ``next_url``, a path of this site.
        """
        raise NotImplementedError


class PasswordSudo(Sudo):
    """Accept a log-in of this session, or the password entered again."""

    def is_recent(self, request: HttpRequest) -> bool:
        return _is_recent(request.session.get(_STAMP))

    def url(self, request: HttpRequest, next_url: str) -> str:
        return f"{reverse('apikeys:confirm')}?{urlencode({'next': next_url})}"


class AllauthSudo(PasswordSudo):
    """Accept a log-in or django-allauth's reauthentication: password, second factor or passkey.

    Without the URL of that reauthentication, ask for the password instead.
    """

    def is_recent(self, request: HttpRequest) -> bool:
        if not apps.is_installed("allauth.account"):
            return super().is_recent(request)
        from allauth.account.authentication import AUTHENTICATION_METHODS_SESSION_KEY

        # Skip other records: one may be the first step of a log-in whose second step is pending.
        records = request.session.get(AUTHENTICATION_METHODS_SESSION_KEY, ())
        times = [record["at"] for record in records if record.get("reauthenticated")]
        return super().is_recent(request) or _is_recent(max(times, default=None))

    def url(self, request: HttpRequest, next_url: str) -> str:
        if (page := reauthentication_url()) is None:
            return super().url(request, next_url)
        return f"{page}?{urlencode({'next': next_url})}"


def reauthentication_url() -> str | None:
    """Return the path of django-allauth's reauthentication, or ``None`` if it has none."""
    try:
        return reverse("account_reauthenticate")
    except NoReverseMatch:
        return None


def get_sudo() -> Sudo:
    return cast("Sudo", import_string(app_settings.SUDO)())


@receiver(user_logged_in, dispatch_uid="apikeys.web.sudo")
def stamp(request: HttpRequest | None, **kwargs: Any) -> None:
    """Store the time of the log-in in the session."""
    if hasattr(request, "session"):
        cast("HttpRequest", request).session[_STAMP] = time.time()


@sensitive_variables("password")
def confirm(request: HttpRequest, password: str) -> bool | None:
    """Whether ``password`` is the user's. Return ``None`` after too many wrong passwords.

    The site's authentication backends check it. So packages that watch for failed log-ins,
    such as django-axes, see these failures too.
    """
    tried, counter = attempts.count(f"sudo:{request.user.pk}", WINDOW)
    if tried > TRIES:
        return None
    user: Any = authenticate(request, username=request.user.get_username(), password=password)
    if user is None or user.pk != request.user.pk:
        return False
    attempts.reset(counter)
    request.session.cycle_key()
    stamp(request)
    return True


def _is_recent(moment: float | None) -> bool:
    if moment is None:
        return False
    return 0 <= time.time() - moment < app_settings.SUDO_MAX_AGE.total_seconds()
