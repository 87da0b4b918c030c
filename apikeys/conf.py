"""Every setting, read in one place: ``APIKEYS`` and ``APIKEYS_PROJECT_MODEL``.

``apikeys.checks`` validates them; ``docs/settings.md`` lists them.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from .policy import Policy

# Django reads the setting of a swappable model by itself, in migrations and their making, so
# the default has to be where Django looks: AUTH_USER_MODEL's is in its global settings.
if not hasattr(settings, "APIKEYS_PROJECT_MODEL"):
    settings.APIKEYS_PROJECT_MODEL = "apikeys.Project"


def project_model() -> str:
    """``app_label.ModelName`` of the project model, swappable like ``AUTH_USER_MODEL``."""
    return cast("str", settings.APIKEYS_PROJECT_MODEL)  # type: ignore[misc]


class AppSettings:
    """``APIKEYS`` with its defaults. Values are computed once, until the setting changes."""

    @property
    def _user(self) -> Mapping[str, Any]:
        given = getattr(settings, "APIKEYS", {})
        return given if isinstance(given, Mapping) else {}  # a check tells of it

    @cached_property
    def PREFIX(self) -> str:
        """First part of every key, ``[a-z][a-z0-9]{1,15}``; the site's own name."""
        return cast("str", self._user.get("PREFIX", "api"))

    @cached_property
    def SCOPES(self) -> Mapping[str, str]:
        """``{"resource:action": "description"}``, shared by keys and OAuth."""
        return cast("Mapping[str, str]", self._user.get("SCOPES", {}))

    @cached_property
    def PEPPERS(self) -> Sequence[bytes]:
        """Server secrets under which digests are made, newest first.

        By default one derived from ``SECRET_KEY`` and one from each of
        ``SECRET_KEY_FALLBACKS``, so that rotating Django's key rotates the pepper.
        """
        given = self._user.get("PEPPERS")
        if given is not None:
            return [p if isinstance(p, bytes) else str(p).encode() for p in given]
        return [
            salted_hmac("apikeys.pepper", b"", secret=key, algorithm="sha256").digest()
            for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
        ]

    @cached_property
    def POLICY(self) -> "Policy":
        """An instance of the class that says who may do what (dotted path)."""
        path = self._user.get("POLICY", "apikeys.policy.Policy")
        return cast("Policy", import_string(path)() if isinstance(path, str) else path())

    @cached_property
    def REALM(self) -> str:
        """``realm`` in ``WWW-Authenticate`` (RFC 9110 section 11.5)."""
        return cast("str", self._user.get("REALM", "api"))

    @cached_property
    def LAST_USED_INTERVAL(self) -> int | None:
        """Seconds between two writes of ``last_used_at``; ``None`` writes none by itself.

        At most this many seconds of uses are lost when a process is killed.
        """
        return cast("int | None", self._user.get("LAST_USED_INTERVAL", 5))

    @cached_property
    def ARGON2_TRIES(self) -> int:
        """How many wrong secrets a minute are tried on a key whose pepper is gone."""
        return cast("int", self._user.get("ARGON2_TRIES", 5))

    @cached_property
    def ROTATION_OVERLAP(self) -> timedelta:
        """How long a rotated key stays valid when nobody says otherwise; 0 to 7 days."""
        return cast("timedelta", self._user.get("ROTATION_OVERLAP", timedelta(hours=24)))

    @cached_property
    def FIRST_PARTY_CLIENTS(self) -> Sequence[str]:
        """Client ids of the site's own pages: the only ones with the password grant."""
        return cast("Sequence[str]", self._user.get("FIRST_PARTY_CLIENTS", ()))

    @cached_property
    def AUDIENCES(self) -> Sequence[str] | None:
        """URIs of the services that tokens are issued for (RFC 8707); ``None``: any."""
        return cast("Sequence[str] | None", self._user.get("AUDIENCES"))

    @cached_property
    def SUDO_MAX_AGE(self) -> timedelta:
        """How long after a log-in keys may be minted, rotated and widened on the pages."""
        return cast("timedelta", self._user.get("SUDO_MAX_AGE", timedelta(minutes=15)))

    @cached_property
    def SUDO(self) -> str:
        """Dotted path of the class that knows a recent log-in, and asks for one."""
        return cast("str", self._user.get("SUDO", "apikeys.web.sudo.PasswordSudo"))

    @cached_property
    def CURL_URL(self) -> str:
        """What the ``curl`` beside a new secret asks for: a path of this site, or a URL."""
        return cast("str", self._user.get("CURL_URL", "/api/token/"))

    @classmethod
    def names(cls) -> list[str]:
        return [name for name in vars(cls) if name.isupper()]

    def reload(self) -> None:
        for name in self.names():
            self.__dict__.pop(name, None)


app_settings = AppSettings()

_READ_FROM = {"APIKEYS", "SECRET_KEY", "SECRET_KEY_FALLBACKS"}


def _reload(*, setting: str, **kwargs: object) -> None:
    if setting in _READ_FROM:
        app_settings.reload()


setting_changed.connect(_reload, dispatch_uid="apikeys.conf")
