"""Every setting, read in one place: ``APIKEYS`` and ``APIKEYS_PROJECT_MODEL``.

``apikeys.checks`` validates them; ``docs/reference/settings.md`` lists them.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from .policy import Policy

__all__ = ["project_model"]

# Django reads the setting of a swappable model by itself, in migrations and their making, so
# the default has to be where Django looks: AUTH_USER_MODEL's is in its global settings.
if not hasattr(settings, "APIKEYS_PROJECT_MODEL"):
    settings.APIKEYS_PROJECT_MODEL = "apikeys.Project"


def project_model() -> str:
    """``app_label.ModelName`` of the project model, swappable like ``AUTH_USER_MODEL``."""
    return cast("str", settings.APIKEYS_PROJECT_MODEL)  # type: ignore[misc]


CACHE_DEFAULTS: Mapping[str, Any] = {
    "LOCATION": None,
    "TIMEOUT": 60,
    "MAX_ENTRIES": 10_000,
    "KEY_PREFIX": "apikeys:",
}


NOTICES = ("minted", "expiring", "legacy_ending", "revoked", "leaked")


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
        given = self._user.get("SCOPES")
        return given if isinstance(given, Mapping) else {}  # a check tells of it

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
    def BASIC_AUTH(self) -> bool:
        """Whether a key is taken as the user name of ``Authorization: Basic`` (RFC 7617)."""
        return cast("bool", self._user.get("BASIC_AUTH", False))

    @cached_property
    def LEGACY(self) -> Mapping[str, Any]:
        """Whose imported keys are taken, by scheme: in which ``HEADER``, ``UNTIL`` which day."""
        given = self._user.get("LEGACY")
        return given if isinstance(given, Mapping) else {}  # a check tells of it

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
    def CACHE(self) -> Mapping[str, Any] | None:
        """What is kept of credentials that were looked up; ``None``: nothing.

        ``LOCATION`` is the URL of the Redis that tells all processes of changes; without one
        ``TIMEOUT``, in seconds, is how long another process's revocation may go unnoticed.
        ``MAX_ENTRIES`` bounds the rows kept in each process.
        """
        given = self._user.get("CACHE")
        # Not by defaults alone, as of a LOCATION from an empty variable of the environment.
        if not isinstance(given, Mapping) or not (given.get("LOCATION") or "TIMEOUT" in given):
            return None
        return {**CACHE_DEFAULTS, **given}

    @cached_property
    def FIRST_PARTY_CLIENTS(self) -> Sequence[str]:
        """Client ids of the site's own pages: the only ones with the password grant."""
        return cast("Sequence[str]", self._user.get("FIRST_PARTY_CLIENTS", ()))

    @cached_property
    def GATEWAY_PROXY(self) -> str:
        """Whose headers say which request is asked about: nginx, traefik, caddy or envoy."""
        return cast("str", self._user.get("GATEWAY_PROXY", "nginx"))

    @cached_property
    def GATEWAY_ROUTES(self) -> Sequence[Mapping[str, Any]]:
        """What may pass the gateway, besides the routes in the database."""
        return cast("Sequence[Mapping[str, Any]]", self._user.get("GATEWAY_ROUTES", ()))

    @cached_property
    def GATEWAY_URL(self) -> str | None:
        """Where callers find the gateway; tokens restricted to a resource name it (RFC 8707)."""
        return cast("str | None", self._user.get("GATEWAY_URL"))

    @cached_property
    def GATEWAY_UPSTREAM(self) -> str | None:
        """URL of the server behind ``apikeys.gateway.proxy``, without a path."""
        return cast("str | None", self._user.get("GATEWAY_UPSTREAM"))

    @cached_property
    def GATEWAY_TIMEOUT(self) -> float:
        """Seconds that the proxy waits for a connection, and for the next bytes on one."""
        return cast("float", self._user.get("GATEWAY_TIMEOUT", 30))

    @cached_property
    def GATEWAY_MAX_BODY(self) -> int:
        """Bytes of the largest request that the proxy passes on."""
        return cast("int", self._user.get("GATEWAY_MAX_BODY", 10_485_760))

    @cached_property
    def GATEWAY_MAX_CONNECTIONS(self) -> int:
        """The most connections to the upstream that a process of the proxy has at a time."""
        return cast("int", self._user.get("GATEWAY_MAX_CONNECTIONS", 100))

    @cached_property
    def GATEWAY_MAX_AGE(self) -> int:
        """For how many seconds a proxy may repeat a decision; 0 to 300."""
        return cast("int", self._user.get("GATEWAY_MAX_AGE", 0))

    @cached_property
    def GATEWAY_SIGNED_BODIES(self) -> str:
        """Who compares the body of a signed request with its digest where a proxy keeps it.

        ``refuse``: nobody can, so only those without a body pass. ``upstream``: the upstream
        does, and the digest has to be signed.
        """
        return cast("str", self._user.get("GATEWAY_SIGNED_BODIES", "refuse"))

    @cached_property
    def TRUSTED_PROXIES(self) -> Sequence[str]:
        """Networks of the reverse proxies whose ``X-Forwarded-For`` is believed; CIDRs.

        ``"unix"`` stands for peers on a Unix socket. Needs the extra ``networks``.
        """
        return cast("Sequence[str]", self._user.get("TRUSTED_PROXIES", ()))

    @cached_property
    def RATE_LIMIT_STORE(self) -> str:
        """Where requests are counted: ``memory://`` of each process, or ``redis://…``."""
        return cast("str", self._user.get("RATE_LIMIT_STORE", "memory://"))

    @cached_property
    def RATE_LIMIT_FAIL_OPEN(self) -> bool:
        """Whether requests go on uncounted while the store is away, instead of a 503."""
        return cast("bool", self._user.get("RATE_LIMIT_FAIL_OPEN", False))

    @cached_property
    def SIGNATURE_WINDOW(self) -> int:
        """Seconds by which a signature's ``created`` may differ from the time here; 1 to 3600."""
        return cast("int", self._user.get("SIGNATURE_WINDOW", 300))

    @cached_property
    def SIGNATURE_NONCE_CACHE(self) -> str | None:
        """The entry of ``CACHES``, shared by all processes, for used nonces; ``None``: a table."""
        return cast("str | None", self._user.get("SIGNATURE_NONCE_CACHE"))

    @cached_property
    def GITHUB_KEYS_URL(self) -> str:
        """Where the public keys are that GitHub signs its reports of found keys with."""
        url = "https://api.github.com/meta/public_keys/secret_scanning"
        return cast("str", self._user.get("GITHUB_KEYS_URL", url))

    @cached_property
    def GITHUB_LEAK_ACTION(self) -> str:
        """What becomes of a key that GitHub finds: ``revoke``, or ``warn`` its owner only."""
        return cast("str", self._user.get("GITHUB_LEAK_ACTION", "revoke"))

    @cached_property
    def NOTICES(self) -> Collection[str]:
        """Which of the mails are sent; by default all."""
        return cast("Collection[str]", self._user.get("NOTICES", NOTICES))

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
