"""System checks: a misconfiguration is a sentence with a hint, not a surprise at run time."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from importlib.util import find_spec
from threading import TIMEOUT_MAX
from typing import Any
from urllib.parse import urljoin, urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from . import networks, scopes, token
from .conf import CACHE_DEFAULTS, NOTICES, app_settings
from .legacy import schemes as legacy_schemes
from .lifecycle import MAX_OVERLAP
from .models import get_project_model
from .policy import Policy, has_field
from .web.sudo import Sudo

_NOT_SHARED = tuple(
    f"django.core.cache.backends.{name}" for name in ("locmem", "dummy", "filebased")
)
_EXAMPLE = 'Say {"PREFIX": "acme", "SCOPES": {"payments:read": "See payments"}}.'


@register("apikeys")
def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    given = getattr(settings, "APIKEYS", {})
    if not isinstance(given, Mapping):
        return [Error("APIKEYS is not a dictionary.", hint=_EXAMPLE, id="apikeys.E001")]
    checks = (
        *(_names, _prefix, _scopes, _peppers, _policy, _overlap, _project, _cache),
        *(_sudo, _last_used_interval, _argon2_tries, _realm, _first_party_clients, _audiences),
        *(_basic_auth, _legacy, _trusted_proxies, _rate_limits, _github, _notices, _signatures),
        *(_curl_url,),
    )
    return [message for check in checks for message in check()]


def is_url(given: Any, schemes: Collection[str] = ("https", "http")) -> bool:
    """Whether this is a URL with a host and, if any, a port that there may be."""
    try:
        parts = urlsplit(given) if isinstance(given, str) else None
        return bool(parts and parts.scheme in schemes and parts.hostname and parts.port != 0)
    except ValueError:
        return False


def _is_list(given: Any) -> bool:
    # In a string, every part of it would be one of the list.
    return isinstance(given, Collection) and not isinstance(given, str | bytes | Mapping)


def _names() -> Iterator[CheckMessage]:
    known = app_settings.names()
    for name in getattr(settings, "APIKEYS", {}):
        if name not in known:
            close = get_close_matches(str(name), known, n=1)
            yield Error(
                f"APIKEYS has no setting {name!r}.",
                hint=f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}.",
                id="apikeys.E001",
            )


def _prefix() -> Iterator[CheckMessage]:
    if not re.fullmatch(token.PREFIX_PATTERN, str(app_settings.PREFIX), re.ASCII):
        yield Error(
            f"APIKEYS['PREFIX'] is {app_settings.PREFIX!r}.",
            hint="It takes 2 to 16 of a-z and 0-9, a letter first; say, your product's name.",
            id="apikeys.E002",
        )


def _scopes() -> Iterator[CheckMessage]:
    declared: Any = app_settings.SCOPES
    if not declared:
        yield Error(
            "APIKEYS['SCOPES'] declares no scope, so no key can be minted.",
            hint='Say {"payments:read": "See payments", …}.',
            id="apikeys.E003",
        )
        return
    for name in declared:
        if not isinstance(name, str) or not scopes.TOKEN_PATTERN.fullmatch(name):
            yield Error(
                f"APIKEYS['SCOPES'] has {name!r}, which is not a scope (RFC 6749 section 3.3).",
                hint="Name it resource:action in printable ASCII, without a space.",
                id="apikeys.E004",
            )


def _peppers() -> Iterator[CheckMessage]:
    try:
        shortest = min(map(len, app_settings.PEPPERS), default=0)
    except TypeError:  # not a list
        shortest = 0
    if shortest < 32:
        yield Error(
            "APIKEYS['PEPPERS'] is empty, or has a pepper of fewer than 32 bytes.",
            hint="Leave it out to derive peppers from SECRET_KEY, or make one with "
            "`python -c 'import secrets; print(secrets.token_urlsafe(32))'`.",
            id="apikeys.E005",
        )


def _policy() -> Iterator[CheckMessage]:
    try:
        valid = isinstance(app_settings.POLICY, Policy)
    except (ImportError, TypeError, ValueError) as error:
        valid = False
        reason = f" ({error})"
    else:
        reason = ""
    if not valid:
        yield Error(
            f"APIKEYS['POLICY'] does not name a subclass of apikeys.policy.Policy{reason}.",
            hint="It takes a dotted path, such as 'acme.policy.AcmePolicy'.",
            id="apikeys.E006",
        )


def _overlap() -> Iterator[CheckMessage]:
    overlap: Any = app_settings.ROTATION_OVERLAP
    if not isinstance(overlap, timedelta) or not timedelta(0) <= overlap <= MAX_OVERLAP:
        yield Error(
            "APIKEYS['ROTATION_OVERLAP'] is not from 0 to 7 days.",
            hint="It takes a datetime.timedelta.",
            id="apikeys.E007",
        )


def _last_used_interval() -> Iterator[CheckMessage]:
    interval: Any = app_settings.LAST_USED_INTERVAL
    if interval is not None and not (
        type(interval) in (int, float) and 0 < interval <= TIMEOUT_MAX
    ):
        yield Error(
            f"APIKEYS['LAST_USED_INTERVAL'] is {interval!r}.",
            hint="It takes seconds, more than 0, or None.",
            id="apikeys.E010",
        )


def _argon2_tries() -> Iterator[CheckMessage]:
    tries: Any = app_settings.ARGON2_TRIES
    if not (type(tries) is int and tries > 0):
        yield Error(
            f"APIKEYS['ARGON2_TRIES'] is {tries!r}.",
            hint="It takes a whole number, 1 or more.",
            id="apikeys.E011",
        )


def _realm() -> Iterator[CheckMessage]:
    # RFC 9110 section 5.6.4: what a quoted-string holds without an escape.
    realm: Any = app_settings.REALM
    if not isinstance(realm, str) or not re.fullmatch(r"[\x20\x21\x23-\x5b\x5d-\x7e]*", realm):
        yield Error(
            f"APIKEYS['REALM'] is {realm!r}.",
            hint="It takes printable ASCII without quotation marks and backslashes.",
            id="apikeys.E012",
        )


def _basic_auth() -> Iterator[CheckMessage]:
    given: Any = app_settings.BASIC_AUTH
    if not isinstance(given, bool):
        yield Error(
            "APIKEYS['BASIC_AUTH'] is neither True nor False.",
            hint="Say True to take a key as the user name of `curl -u <key>:`.",
            id="apikeys.E050",
        )


def _legacy() -> Iterator[CheckMessage]:
    given = getattr(settings, "APIKEYS", {}).get("LEGACY", {})
    example = "Say {'authtoken': {'UNTIL': '2030-06-30'}}."
    if not isinstance(given, Mapping):
        yield Error("APIKEYS['LEGACY'] is not a dictionary.", hint=example, id="apikeys.E051")
        return
    for name, settings_ in given.items():
        try:
            scheme = legacy_schemes.parse(name, settings_)
        except (TypeError, ValueError) as error:
            yield Error(f"APIKEYS['LEGACY']: {error}", hint=example, id="apikeys.E051")
            continue
        if scheme.is_over():
            yield Warning(
                f"APIKEYS['LEGACY']['{name}'] is over: its keys are refused since "
                f"{scheme.until} has passed.",
                hint="Take it out, or give it another day.",
                id="apikeys.W051",
            )


def _trusted_proxies() -> Iterator[CheckMessage]:
    given: Any = app_settings.TRUSTED_PROXIES
    try:
        if not _is_list(given):
            raise ValueError(given)
        for each in given:
            if each != networks.UNIX:
                networks.parse_network(each)
    except (TypeError, ValueError, AttributeError) as error:
        yield Error(
            f"APIKEYS['TRUSTED_PROXIES'] is not a list of networks: {error}.",
            hint="Say ['10.0.0.0/8'], the addresses of your own proxies and of nobody else.",
            id="apikeys.E030",
        )
        return
    if given and find_spec("python_ipware") is None:
        yield Error(
            "APIKEYS['TRUSTED_PROXIES'] is set, but python-ipware is not installed.",
            hint='Install it by `pip install "apikeys[networks]"`.',
            id="apikeys.E031",
        )


def _rate_limits() -> Iterator[CheckMessage]:
    store: Any = app_settings.RATE_LIMIT_STORE
    if not isinstance(store, str) or "://" not in store or not _is_store(store):
        yield Error(
            "APIKEYS['RATE_LIMIT_STORE'] is no URL of a store.",  # which may hold a password
            hint="Say 'memory://' or 'redis://127.0.0.1:6379/0'.",
            id="apikeys.E032",
        )
    fail_open: Any = app_settings.RATE_LIMIT_FAIL_OPEN
    if not isinstance(fail_open, bool):
        yield Error("APIKEYS['RATE_LIMIT_FAIL_OPEN'] is neither True nor False.", id="apikeys.E033")


def _is_store(url: str) -> bool:
    scheme = url.partition("://")[0]
    if find_spec("limits") is not None:
        from limits.storage import SCHEMES  # type: ignore[attr-defined]

        if scheme not in SCHEMES:
            return False
    if scheme in ("redis", "rediss") and find_spec("redis") is not None:
        return _is_redis_url(url)
    return bool(scheme)


def _github() -> Iterator[CheckMessage]:
    url: Any = app_settings.GITHUB_KEYS_URL
    if not is_url(url):
        yield Error("APIKEYS['GITHUB_KEYS_URL'] is not a URL.", id="apikeys.E034")
    if app_settings.GITHUB_LEAK_ACTION not in ("revoke", "warn"):
        yield Error(
            f"APIKEYS['GITHUB_LEAK_ACTION'] is {app_settings.GITHUB_LEAK_ACTION!r}.",
            hint="Say 'revoke' or 'warn'.",
            id="apikeys.E035",
        )


def _notices() -> Iterator[CheckMessage]:
    given: Any = app_settings.NOTICES
    if not _is_list(given) or not all(each in NOTICES for each in given):
        yield Error(
            f"APIKEYS['NOTICES'] takes a list of {', '.join(NOTICES)}.",
            hint="Say () to send no mail.",
            id="apikeys.E036",
        )


def _signatures() -> Iterator[CheckMessage]:
    window: Any = app_settings.SIGNATURE_WINDOW
    if not (type(window) is int and 1 <= window <= 3600):
        yield Error(
            f"APIKEYS['SIGNATURE_WINDOW'] is {window!r}.",
            hint="It takes whole seconds, 1 to 3600.",
            id="apikeys.E060",
        )
    alias: Any = app_settings.SIGNATURE_NONCE_CACHE
    if alias is None:
        if find_spec("http_message_signatures") and any(
            database.get("ATOMIC_REQUESTS") for database in settings.DATABASES.values()
        ):
            yield Warning(
                "With ATOMIC_REQUESTS a request that fails takes back its nonce, and so may be "
                "replayed, unless APIKEYS['SIGNATURE_NONCE_CACHE'] is set.",
                hint="Name a Redis in CACHES there.",
                id="apikeys.W060",
            )
    elif not isinstance(alias, str) or alias not in settings.CACHES:
        yield Error(
            f"APIKEYS['SIGNATURE_NONCE_CACHE'] is {alias!r}, which CACHES does not have.",
            hint=f"There are: {', '.join(settings.CACHES)}. None keeps nonces in a table.",
            id="apikeys.E061",
        )
    elif settings.CACHES[alias].get("BACKEND", "").startswith(_NOT_SHARED):
        yield Error(
            "APIKEYS['SIGNATURE_NONCE_CACHE'] names a cache that does not tell all processes of "
            "one that has come first.",
            hint="Name a Redis or Memcached, or None for a table of the database.",
            id="apikeys.E062",
        )


def _first_party_clients() -> Iterator[CheckMessage]:
    given: Any = app_settings.FIRST_PARTY_CLIENTS
    if not _is_list(given) or not all(isinstance(client, str) for client in given):
        yield Error(
            "APIKEYS['FIRST_PARTY_CLIENTS'] is not a list of client ids.",
            hint="Say ['webapp'].",
            id="apikeys.E013",
        )


def _cache() -> Iterator[CheckMessage]:
    given = getattr(settings, "APIKEYS", {}).get("CACHE")
    if given is None:
        return
    if not isinstance(given, Mapping) or set(given) - set(CACHE_DEFAULTS):
        yield Error(
            f"APIKEYS['CACHE'] takes a dictionary of {', '.join(CACHE_DEFAULTS)}.",
            id="apikeys.E020",
        )
        return
    config = {**CACHE_DEFAULTS, **given}
    for name in ("TIMEOUT", "MAX_ENTRIES"):
        if type(config[name]) is not int or config[name] < 1:
            yield Error(
                f"APIKEYS['CACHE']['{name}'] is {config[name]!r}; it takes a number from 1.",
                id="apikeys.E021",
            )
    if not isinstance(config["KEY_PREFIX"], str):
        yield Error(
            f"APIKEYS['CACHE']['KEY_PREFIX'] is {config['KEY_PREFIX']!r}; it takes text.",
            id="apikeys.E024",
        )
    if config["LOCATION"] in (None, ""):
        if "TIMEOUT" not in given:
            yield Error(
                "APIKEYS['CACHE'] has neither LOCATION nor TIMEOUT, so nothing says how long a "
                "revoked key may go on in another process.",
                hint="Name a Redis in LOCATION, or say the bound: {'TIMEOUT': 5} is 5 seconds.",
                id="apikeys.E022",
            )
    elif find_spec("redis") is None:
        yield Error(
            "APIKEYS['CACHE'] has a LOCATION, but redis-py is not installed.",
            hint='Install it by `pip install "apikeys[redis]"`.',
            id="apikeys.E023",
        )
    elif not _is_redis_url(config["LOCATION"]):
        yield Error(
            "APIKEYS['CACHE']['LOCATION'] is no URL of a Redis.",  # which may hold a password
            hint="Write it as redis://127.0.0.1:6379/0, rediss://… with TLS, or unix://….",
            id="apikeys.E025",
        )


def _is_redis_url(given: Any) -> bool:
    from redis import ConnectionPool

    try:
        ConnectionPool.from_url(given).make_connection()  # which connects to nothing yet
    except (TypeError, ValueError, AttributeError):
        return False
    return True


def _project() -> Iterator[CheckMessage]:
    try:
        model = get_project_model()
    except ImproperlyConfigured as error:
        yield Error(str(error), id="apikeys.E008")
        return
    if not has_field(model, "slug") or not model._meta.get_field("slug").unique:
        yield Error(
            f"{model._meta.label} has no unique field `slug`, by which people name a project.",
            hint="Add one, or subclass apikeys.models.AbstractProject.",
            obj=model,
            id="apikeys.E009",
        )


def _audiences() -> Iterator[CheckMessage]:
    uris: Any = app_settings.AUDIENCES
    if uris is None:
        return
    if not _is_list(uris) or not all(map(_is_audience, uris)):
        yield Error(
            "APIKEYS['AUDIENCES'] is not a list of absolute URIs without a fragment.",
            hint='Say ["https://api.example.com/"], or None for any (RFC 8707 section 2).',
            id="apikeys.E016",
        )


def _is_audience(uri: Any) -> bool:
    match = isinstance(uri, str) and re.match(r"([a-z][a-z0-9+.-]*)://[^/#]+[^#]*$", uri)
    return bool(match and is_url(uri, [match[1]]))


def _sudo() -> Iterator[CheckMessage]:
    age: Any = app_settings.SUDO_MAX_AGE
    if not isinstance(age, timedelta) or age < timedelta(minutes=1):
        yield Error(
            "APIKEYS['SUDO_MAX_AGE'] is not a time of at least a minute.",
            hint="It takes a datetime.timedelta.",
            id="apikeys.E014",
        )
    try:
        valid, reason = issubclass(import_string(app_settings.SUDO), Sudo), ""
    except (ImportError, TypeError, ValueError, AttributeError) as error:
        valid, reason = False, f" ({error})"
    if not valid:
        yield Error(
            f"APIKEYS['SUDO'] does not name a subclass of apikeys.web.sudo.Sudo{reason}.",
            hint="It takes a dotted path, such as 'apikeys.web.sudo.AllauthSudo'.",
            id="apikeys.E015",
        )


def _curl_url() -> Iterator[CheckMessage]:
    url: Any = app_settings.CURL_URL
    try:
        is_path = isinstance(url, str) and not urlsplit(url).scheme
        good = is_url(urljoin("https://localhost/", url) if is_path else url)
    except ValueError:
        good = False
    if not good:
        yield Error(
            f"APIKEYS['CURL_URL'] is {url!r}.",
            hint="It takes a path of this site, such as '/api/reports/', or a whole URL.",
            id="apikeys.E017",
        )
