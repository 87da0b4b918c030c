"""A recent log-in: what minting, rotating, widening and approving ask for (``SUDO_MAX_AGE``).

A session that somebody left open, or stole, must not turn into a key that outlives it.
"""

import time
from typing import Any, Final, cast

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from django.core.cache import cache
from django.dispatch import receiver
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from ..conf import app_settings

__all__ = ["AllauthSudo", "PasswordSudo", "Sudo"]

_STAMP: Final = "apikeys_logged_in_at"

#: Wrong passwords of one user in ``WINDOW`` seconds, after which no more are looked at.
TRIES: Final = 5
WINDOW: Final = 15 * 60


class Sudo:
    """What a site replaces (``APIKEYS["SUDO"]``): how somebody shows that it is them."""

    def is_recent(self, request: HttpRequest) -> bool:
        """Whether the person logged in, or showed that it is them, within ``SUDO_MAX_AGE``."""
        raise NotImplementedError

    def url(self, request: HttpRequest, next_url: str) -> str:
        """Where to send them to show it; they come back to ``next_url``, a path of this site."""
        raise NotImplementedError


class PasswordSudo(Sudo):
    """A log-in of Django's in this session, or the password entered again."""

    def is_recent(self, request: HttpRequest) -> bool:
        return _is_recent(request.session.get(_STAMP))

    def url(self, request: HttpRequest, next_url: str) -> str:
        return f"{reverse('apikeys:confirm')}?{urlencode({'next': next_url})}"


class AllauthSudo(PasswordSudo):
    """A log-in, or django-allauth's reauthentication: password, second factor or passkey."""

    def is_recent(self, request: HttpRequest) -> bool:
        from allauth.account.authentication import AUTHENTICATION_METHODS_SESSION_KEY

        # The first step of a log-in that awaits its second is a record as well: not those.
        records = request.session.get(AUTHENTICATION_METHODS_SESSION_KEY, ())
        times = [record["at"] for record in records if record.get("reauthenticated")]
        return super().is_recent(request) or _is_recent(max(times, default=None))

    def url(self, request: HttpRequest, next_url: str) -> str:
        return f"{reverse('account_reauthenticate')}?{urlencode({'next': next_url})}"


def get_sudo() -> Sudo:
    return cast("Sudo", import_string(app_settings.SUDO)())


@receiver(user_logged_in, dispatch_uid="apikeys.web.sudo")
def stamp(request: HttpRequest | None, **kwargs: Any) -> None:
    """Remember in the session that its person showed just now who they are."""
    if hasattr(request, "session"):
        cast("HttpRequest", request).session[_STAMP] = time.time()


@sensitive_variables("password")
def confirm(request: HttpRequest, password: str) -> bool | None:
    """Whether ``password`` is the person's own; ``None`` after too many wrong ones.

    It goes through the site's authentication backends, so what watches for failed log-ins
    there (django-axes, say) sees these as well.
    """
    tries = f"apikeys.sudo.{request.user.pk}"
    cache.add(tries, 0, WINDOW)
    try:
        # Counted before it is looked at, so that many at once are no more than one by one.
        tried = cache.incr(tries)
    except ValueError:  # it expired this moment
        tried = 1
    if tried > TRIES:
        return None
    user: Any = authenticate(request, username=request.user.get_username(), password=password)
    if user is None or user.pk != request.user.pk:
        return False
    cache.delete(tries)
    request.session.cycle_key()
    stamp(request)
    return True


def _is_recent(moment: float | None) -> bool:
    if moment is None:
        return False
    return 0 <= time.time() - moment < app_settings.SUDO_MAX_AGE.total_seconds()
