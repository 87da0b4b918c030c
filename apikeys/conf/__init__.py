"""Declare the settings of the core, and ``APIKEYS_PROJECT_MODEL``.

The settings of optional parts are declared in their ``conf.py``. The system checks and
``docs/reference/settings.md`` are generated from these declarations.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_network
from typing import Any, Final, cast

from django.conf import settings
from django.utils.crypto import salted_hmac

from ..token import KIND_NAMES, PREFIX_PATTERN
from . import presets, rules
from .rules import KEPT, SECONDS, STORE, URL, YES_OR_NO, Rule
from .setting import Setting, Table

__all__ = ["project_model"]

# Django itself reads the setting of a swappable model, in migrations and `makemigrations`. So
# set the default in the settings, like Django does for AUTH_USER_MODEL.
if not hasattr(settings, "APIKEYS_PROJECT_MODEL"):
    settings.APIKEYS_PROJECT_MODEL = "apikeys.Project"


def project_model() -> str:
    """Return ``app_label.ModelName`` of the project model (``APIKEYS_PROJECT_MODEL``)."""
    return cast("str", settings.APIKEYS_PROJECT_MODEL)  # type: ignore[misc]


def slug_field() -> str:
    """Return the name of the project's field that takes the place of ``slug``.

    Read from ``APIKEYS_PROJECT_SLUG_FIELD``.
    """
    return str(getattr(settings, "APIKEYS_PROJECT_SLUG_FIELD", "slug"))


def slug_of(project: Any) -> str:
    """Return what names ``project`` in URLs, in the JSON API and in commands."""
    return str(getattr(project, slug_field()))


CACHE_DEFAULTS: Final[Mapping[str, Any]] = {
    "LOCATION": None,
    "TIMEOUT": 60,
    "MAX_ENTRIES": 10_000,
    "KEY_PREFIX": "apikeys:",
}
#: The kinds of credentials that a view may accept. ``oauth`` needs ``apikeys.oauth``, and
#: ``external`` needs ``apikeys.issuers``.
CREDENTIAL_KINDS: Final = (*KIND_NAMES.values(), "oauth", "external")
MAILS: Final = (
    "minted", "expiring", "legacy_ending", "idle", "used_after_end", "paused", "resumed",
    "revoked", "leaked", "denied",
    "allowed",
)  # fmt: skip
#: Entry of ``TRUSTED_PROXIES`` for peers without an address, such as those on a Unix socket.
UNIX: Final = "unix"


def _pepper(given: object) -> bytes:
    return given if isinstance(given, bytes) else str(given).encode()


def _are_peppers(given: Any) -> bool:
    return given is None or (
        rules.is_list(given) and bool(given) and all(len(_pepper(each)) >= 32 for each in given)
    )


def _peppers(given: Any) -> Sequence[bytes]:
    if given is not None:
        return [_pepper(each) for each in given]
    return [
        salted_hmac("apikeys.pepper", b"", secret=key, algorithm="sha256").digest()
        for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    ]


def _cache(given: Any) -> Mapping[str, Any] | None:
    # No cache without LOCATION and TIMEOUT: LOCATION may come from an empty environment variable.
    if not isinstance(given, Mapping) or not (given.get("LOCATION") or "TIMEOUT" in given):
        return None
    return {**CACHE_DEFAULTS, **given}


def _kept(what: str, check: str) -> Setting[Any]:
    text = f"How long [`apikeys prune`](audit.md#retention) keeps {what}. With `None`, for ever."
    return Setting(None, KEPT, text, check=check)


class AppSettings(Table):
    PREFIX = Setting(
        "api",
        rules.text("2 to 16 characters of a-z and 0-9, starting with a letter", PREFIX_PATTERN),
        "The first part of every key. Use your product's name, so that people and secret "
        "scanners recognize it. If you change it, all existing keys stop working.",
        check="E002",
        hint="Use your product's name, such as 'acme'.",
    )
    SCOPES = Setting(
        {},
        rules.mapping("a dictionary with at least one scope", bool),
        'The scopes of your API: `{"resource:action": "description"}`, shared by keys and OAuth. '
        "`resource:write` implies `resource:read`. Required.",
        check="E003",
        hint='Set it to, for example, {"payments:read": "See payments"}.',
    )
    PEPPERS = Setting(
        None,
        Rule("a list of secrets of at least 32 bytes each", _are_peppers, _peppers),
        "Server secrets for the digests of credentials, newest first. "
        "See [how a secret is stored](keys.md#how-a-secret-is-stored).",
        check="E005",
        hint="Omit it to derive peppers from SECRET_KEY, or create one with "
        "`python -c 'import secrets; print(secrets.token_urlsafe(32))'`.",
        default_words="derived from `SECRET_KEY` and `SECRET_KEY_FALLBACKS`",
    )
    #: Code calls ``policy.get_policy()``, which knows the type.
    POLICY = Setting[Any](
        "apikeys.policy.Policy",
        rules.instance_of("apikeys.policy.Policy"),
        "The class that decides what users, projects and keys can do. "
        "See [how rights are computed](access.md#how-rights-are-computed).",
        check="E006",
        hint="Set it to a dotted path, such as 'acme.policy.AcmePolicy'.",
    )
    REALM = Setting(
        "api",
        # RFC 9110 section 5.6.4: characters of a quoted-string that need no escape.
        rules.text(
            "printable ASCII without quotation marks and backslashes",
            r"[\x20\x21\x23-\x5b\x5d-\x7e]*",
        ),
        "The `realm` in `WWW-Authenticate`.",
        check="E012",
    )
    BASIC_AUTH = Setting(
        default=False,
        rule=YES_OR_NO,
        about="Whether to accept a credential as the user name of `Authorization: Basic`, as "
        "`curl -u` sends it. See [Basic authentication](../how-to/basic-authentication.md).",
        check="E050",
        hint="Set it to True to accept a key as the user name of `curl -u <key>:`.",
    )
    HEADERS = Setting[Sequence[str]](
        (),
        Rule(
            "a list of header names, without Authorization",
            lambda given: rules.is_list(given) and all(map(rules.is_header, given)),
            tuple,
        ),
        "Further headers in which your keys are accepted, such as `X-Api-Key`. The whole value is "
        "the key. See [further headers](keys.md#further-headers).",
        check="E104",
        hint="Set it to, for example, ['X-Api-Key'].",
    )
    LEGACY = Setting(
        {},
        rules.mapping("a dictionary with one entry per scheme"),
        "The imported keys to accept, with the last day and the `HEADERS`: "
        '`{"knox": {"UNTIL": "2030-06-30"}}`. `LIVE` follows a package that still creates keys, '
        "`VERIFY` names the function of keyed hashes. "
        "See [import keys](../how-to/import-keys.md).",
        check="E051",
        hint="Set it to, for example, {'authtoken': {'UNTIL': '2030-06-30'}}.",
    )
    ACCEPTS = Setting(
        None,
        rules.list_of(
            f"a list of {', '.join(CREDENTIAL_KINDS)}",
            lambda each: each in CREDENTIAL_KINDS,
        ).or_none(),
        "The kinds of credentials that a view accepts if it does not list them in `accepts`. "
        "`None` accepts all. See [accepts](permissions.md#accepts).",
        check="E100",
        hint="Set it to, for example, ['personal_access_token', 'oauth'].",
    )
    PROJECT_KEYS = Setting(
        default=True,
        rule=YES_OR_NO,
        about="Whether projects have keys. With `False`, the settings pages, the JSON API, the "
        "admin and the commands offer no project keys, and requests with one are refused.",
        check="E101",
    )
    PROJECT_USER = Setting(
        None,
        rules.text("the name of a relation of the project model", r"[A-Za-z_]\w*").or_none(),
        "A relation from the project to a user, such as `service_account`. This user is then "
        "`request.user` of the project's keys. See "
        "[project keys and users](permissions.md#project-keys-and-users).",
        check="E102",
        hint="Set it to the name of a foreign key or one-to-one field to the user model.",
    )
    DEFAULT_SCOPES = Setting(
        {},
        Rule[Mapping[str, Any]](
            "a dictionary from modules or views to scopes, or to None",
            rules.are_default_scopes,
            lambda given: given if isinstance(given, Mapping) else {},
        ),
        "The scopes of views that declare none, by module or view: "
        '`{"myapp.api": {"read": ["payments:read"], "write": ["payments:write"]}}`. '
        '`{"other.package": None}` refuses every credential in that module. '
        "See [default scopes](permissions.md#default-scopes).",
        check="E103",
        hint="Set it to, for example, {'myapp.api': {'read': ['payments:read'], 'write': "
        "['payments:write']}}.",
    )
    LAST_USED_INTERVAL = Setting(
        5,
        SECONDS.or_none(),
        "Seconds between two writes of `last_used_at` and `last_used_ip` in one process. A killed "
        "process loses the uses since the last write. With `None`, call `apikeys.usage.flush()`.",
        check="E010",
    )
    KEEP_ENDED = _kept("ended keys", "E140")
    KEEP_AUDIT = _kept("audit events", "E141")
    ARGON2_TRIES = Setting(
        5,
        rules.whole(1),
        "The maximum number of wrong secrets per minute that are checked with Argon2id, for a key "
        "whose pepper is lost.",
        check="E011",
    )
    ROTATION_OVERLAP = Setting(
        timedelta(hours=24),
        rules.duration("a timedelta from 0 to 7 days", timedelta(0), timedelta(days=7)),
        "How long a key keeps working after its rotation, unless the rotation sets another time.",
        check="E007",
    )
    SUDO_MAX_AGE = Setting(
        timedelta(minutes=15),
        rules.duration("a timedelta of at least a minute", timedelta(minutes=1)),
        "How long after a login users can create, rotate, widen and approve keys on the "
        "[settings pages](pages.md). Afterwards they must log in again.",
        check="E014",
    )
    SUDO = Setting(
        "apikeys.web.sudo.PasswordSudo",
        rules.path_of("apikeys.web.sudo.Sudo"),
        "The class that recognizes a recent login and requests a new one. "
        "See [a recent login](pages.md#a-recent-login).",
        check="E015",
        hint="Set it to a dotted path, such as 'apikeys.web.sudo.AllauthSudo'.",
    )
    BASE_TEMPLATE = Setting(
        None,
        rules.text("the name of a template", r"[^\s\x00]{1,200}").or_none(),
        "The template that your own pages extend, such as `base.html`. The settings pages then "
        "appear inside it. See [your base template](pages.md#your-base-template).",
        check="E090",
        hint="Set it to, for example, 'base.html'.",
    )
    BASE_BLOCK = Setting(
        "content",
        rules.text("the name of a block", r"\w+"),
        "The block of `BASE_TEMPLATE` that contains the page.",
        check="E091",
    )
    BASE_TITLE_BLOCK = Setting(
        "title",
        rules.text("the name of a block", r"\w+").or_none(),
        "The block of `BASE_TEMPLATE` inside `<title>`, or `None`.",
        check="E092",
    )
    PAGES_CSP = Setting(
        "strict",
        rules.text(
            "'strict', or a policy such as \"default-src 'self'\"",
            r"strict|[a-z]+-[a-z-]+ [\x20-\x7e]+",
        ).or_none(),
        'The `Content-Security-Policy` of the settings pages: `"strict"`, your own policy as a '
        "string, or `None` to send none and leave it to your middleware. "
        "See [the policy of the pages](pages.md#content-security-policy).",
        check="E093",
    )
    CURL_URL = Setting(
        "/api/token/",
        Rule[str]("a path of your site, or a URL", rules.is_url_or_path),
        "The URL in the `curl` example that is shown with a new secret.",
        check="E017",
        hint="Set it to, for example, '/api/payments/'.",
    )
    SITE_URL = Setting(
        None,
        URL.or_none(),
        "The address of your site, such as `https://acme.example`. Mails link to the settings "
        "pages below it. With `None`, they contain no link.",
        check="E095",
    )
    PRESETS = Setting[Mapping[str, Mapping[str, Any]]](
        {},
        rules.mapping(
            "a dictionary of dictionaries with the keys label, name, description, scopes, projects "
            "and expires",
            presets.are_presets,
        ),
        'Presets for the form of a new token or key: `{"CI": {"scopes": ["payments:read"], '
        '"expires": 30}}`. Each fills in the form. `expires` is a number of days, `"never"`, or '
        'hours such as `"1h"`. With `"projects": "selected"`, the user selects them. See [fill in '
        "the form](pages.md#fill-in-the-form).",
        check="E094",
        hint='Set it to, for example, {"CI": {"scopes": ["payments:read"], "expires": 30}}.',
    )
    CACHE = Setting(
        None,
        Rule[Mapping[str, Any] | None](
            f"a dictionary of {', '.join(CACHE_DEFAULTS)}, or None",
            lambda given: (
                given is None or (isinstance(given, Mapping) and set(given) <= set(CACHE_DEFAULTS))
            ),
            _cache,
        ),
        'Keeps credentials in memory: `{"LOCATION": "redis://…", "TIMEOUT": 60, '
        '"MAX_ENTRIES": 10_000, "KEY_PREFIX": "apikeys:"}`. `LOCATION` has no default; the others '
        "have these. "
        "See [the cache](../explanation/performance.md#the-cache).",
        check="E020",
    )
    PARTITION = Setting[Any](
        None,
        rules.instance_with("current", "enter"),
        "The class that names the current tenant (`current()`) and enters one (`enter(name)`), for "
        "tenants whose rows have the same primary keys. "
        "See [tenants](../how-to/many-workers.md#give-each-tenant-a-schema).",
        check="E027",
        hint="With django-tenants, set it to 'apikeys.contrib.tenants.SchemaPartition'.",
    )
    TRUSTED_PROXIES = Setting(
        (),
        rules.list_of(
            f"a list of IP ranges, with {UNIX!r} for Unix sockets",
            lambda each: each == UNIX or ip_network(each.strip()),
        ),
        'The IP ranges of your reverse proxies, whose `X-Forwarded-For` is trusted. Add `"unix"` '
        "for proxies on a Unix socket. See [trusting proxies](networks.md#trusting-proxies).",
        check="E030",
        hint="List only the addresses of your own proxies, such as ['10.0.0.0/8'].",
    )
    RATE_LIMIT_STORE = Setting(
        "memory://",
        STORE,
        "Where requests are counted: `memory://` counts in each process separately, "
        "`redis://127.0.0.1:6379/0` in one Redis for all. See [rate limits](limits.md).",
        check="E032",
    )
    RATE_LIMIT_FAIL_OPEN = Setting(
        default=False,
        rule=YES_OR_NO,
        about="Whether to allow requests without counting while `RATE_LIMIT_STORE` is unavailable. "
        "Otherwise they get 503 `rate_limit_unavailable`.",
        check="E033",
    )
    SIGNATURE_WINDOW = Setting(
        300,
        rules.whole(1, 3600),
        "How many seconds the `created` time of a [signed request](../how-to/sign-requests.md) may "
        "be before or after the server's time.",
        check="E060",
    )
    SIGNATURE_NONCE_CACHE = Setting(
        None,
        Rule[str | None](
            "the name of an entry of CACHES, or None",
            lambda given: given is None or (isinstance(given, str) and given in settings.CACHES),
        ),
        "Where the nonces of signed requests are stored: an entry of `CACHES` that all processes "
        "share (Redis, Memcached), or `None` for a table in the database.",
        check="E061",
    )
    GITHUB_KEYS_URL = Setting(
        "https://api.github.com/meta/public_keys/secret_scanning",
        URL,
        "The URL of the public keys with which GitHub signs its reports. "
        "See [leaks](leaks.md#githubs-secret-scanning).",
        check="E034",
    )
    GITHUB_LEAK_ACTION = Setting(
        "revoke",
        rules.one_of("revoke", "warn"),
        'What to do with a key that GitHub finds in a public repository: `"revoke"` it, or only '
        '`"warn"` its owner.',
        check="E035",
    )
    NOTICES = Setting(
        MAILS,
        rules.list_of(f"a list of {', '.join(MAILS)}", lambda each: each in MAILS),
        "The [mails](audit.md#mail) that owners get.",
        check="E036",
        hint="Set it to () to send no mail.",
    )


app_settings: Final = AppSettings()
