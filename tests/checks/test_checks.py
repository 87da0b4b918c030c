"""`manage.py check` reports invalid settings and how to fix them."""

import ast
import re
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from math import inf
from pathlib import Path

import pytest
from django.core.checks import registry as registry_module
from django.core.checks import run_checks
from django.test import override_settings

import apikeys.scopes
from apikeys.checks import timeouts
from apikeys.conf.setting import Table, all_names

SCOPES = {"payments:read": "See payments"}


def found():
    return [
        message for message in run_checks() if message.id and message.id.startswith("apikeys.E")
    ]


def check(settings, **changes):
    settings.APIKEYS = {**settings.APIKEYS, **changes}
    return [message.id for message in found()]


def test_the_example_passes_all_checks():
    assert found() == []


@pytest.mark.parametrize(
    ("id_", "name", "values"),
    [
        ("apikeys.E001", "PREFX", ["acme"]),
        (
            "apikeys.E002",
            "PREFIX",
            ["", "a", "Acme", "1acme", "a_b", "a-b", "x" * 17, "acmé", "acme\n", None, 5, b"acme"],
        ),
        (
            "apikeys.E003",
            "SCOPES",
            [{}, ["payments:read"], "payments:read", b"x", int, object(), timedelta(1), None],
        ),
        ("apikeys.E004", "SCOPES", [{"a b": ""}, {"": ""}, {'a"b': ""}, {"ä": ""}, {5: ""}]),
        (
            "apikeys.E005",
            "PEPPERS",
            [[], [""], ["short"], ["x" * 32, "short"], "x" * 64, b"x" * 64, 5],
        ),
        (
            "apikeys.E006",
            "POLICY",
            [
                "no.such.Policy",
                "policy",
                "apikeys.models.Project",
                "builtins.dict",
                5,
                None,
                "",
                ".",
            ],
        ),
        (
            "apikeys.E007",
            "ROTATION_OVERLAP",
            [timedelta(seconds=-1), timedelta(days=7, microseconds=1), 3600, "1d", None],
        ),
        ("apikeys.E050", "BASIC_AUTH", ["yes", 1, None]),
        (
            "apikeys.E051",
            "LEGACY",
            [
                ["knox"],
                {"tokens": {"UNTIL": date(2100, 1, 1)}},
                {"knox": date(2100, 1, 1)},
                {"knox": {}},
                {"knox": {"UNTIL": None}},
                {"knox": {"UNTIL": "soon"}},
                {"knox": {"UNTIL": "2100-02-30"}},
                {"knox": {"UNTIL": "9999-12-31"}},
                {"knox": {"UNTIL": datetime(2100, 1, 1, tzinfo=UTC)}},
                {"knox": {"UNTIL": date(2100, 1, 1), "SCHEME": "Token"}},
                {"knox": {"UNTIL": date(2100, 1, 1), "HEADER": "Authorization"}},
                {"knox": {"UNTIL": date(2100, 1, 1), "HEADER": "Authorization: Basic"}},
                {"knox": {"UNTIL": date(2100, 1, 1), "HEADER": "X-Api-Key: Token"}},
                {"knox": {"UNTIL": date(2100, 1, 1), "HEADER": None}},
            ],
        ),
        (
            "apikeys.E010",
            "LAST_USED_INTERVAL",
            [0, -1, "5", timedelta(seconds=5), True, inf, 10**400],
        ),
        ("apikeys.E011", "ARGON2_TRIES", [0, -1, "5", None, 1.5, True]),
        ("apikeys.E012", "REALM", ['a"b', "a\\b", "a\r\nb", "ä", 5, None]),
        ("apikeys.E060", "SIGNATURE_WINDOW", [0, -1, 3601, 1.5, "300", None, True]),
        ("apikeys.E061", "SIGNATURE_NONCE_CACHE", ["nowhere", "", 5, ["default"]]),
        ("apikeys.E013", "FIRST_PARTY_CLIENTS", ["webapp", None, 5, [5], {"webapp": 1}]),
        ("apikeys.E015", "SUDO", [None, 5, [], {}, ".", "sudo", "builtins.dict"]),
        (
            "apikeys.E016",
            "AUDIENCES",
            [5, 0, True, [None], [1], b"x", "https://a/", ["https://["], ["https://a:b/"], {}],
        ),
        (
            "apikeys.E017",
            "CURL_URL",
            [5, [1], [], None, b"/api/", "http://[", "javascript:x", "https://", "http://a:b/"],
        ),
        ("apikeys.E030", "TRUSTED_PROXIES", ["10.0.0.0/8", 5, [5], {"10.0.0.0/8": 1}]),
        (
            "apikeys.E032",
            "RATE_LIMIT_STORE",
            [5, None, "", "memory", "://", "nope://", "redis://h:abc"],
        ),
        ("apikeys.E034", "GITHUB_KEYS_URL", [5, "", "https://", "http://[", "https://a:99999"]),
        ("apikeys.E036", "NOTICES", ["minted", 5, [[]], [{}], ["mint"], {"minted": 1}]),
    ],
)
def test_an_invalid_value_is_reported(settings, id_, name, values):
    for value in values:
        with override_settings(APIKEYS={**settings.APIKEYS, name: value}):
            messages = found()
        assert {message.id for message in messages} == {id_}, (value, messages)
        for message in messages:
            assert name in message.msg
            assert message.hint or id_ == "apikeys.E034"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("PREFIX", ["ab", "a1", "x" * 16]),
        ("PEPPERS", [["x" * 32], (b"x" * 32, "y" * 40)]),
        ("ROTATION_OVERLAP", [timedelta(0), timedelta(days=7)]),
        ("LAST_USED_INTERVAL", [None, 1, 0.5]),
        ("ARGON2_TRIES", [1, 100]),
        ("REALM", ["api", "The API, v2"]),
        ("FIRST_PARTY_CLIENTS", [[], ("webapp",), {"a", "b"}]),
        ("SIGNATURE_WINDOW", [1, 3600]),
        ("AUDIENCES", [None, [], ["https://api.example.com/", "https://[::1]:8000/v1?x=y"]]),
        ("CURL_URL", ["/api/reports/", "api/?a=b", "", "https://api.example.com:8443/v1"]),
        (
            "RATE_LIMIT_STORE",
            [
                "memory://",
                "redis://:word@127.0.0.1:6379/0",
                "redis+unix:///run/redis.sock",
                "redis+cluster://a:7000,b:7001",
                "memcached://a:11211,b:11211",
            ],
        ),
        ("GITHUB_KEYS_URL", ["https://ghe.example.com/keys", "http://127.0.0.1:8000"]),
        ("NOTICES", [(), ["minted"], {"leaked", "revoked"}]),
    ],
)
def test_a_valid_value_passes(settings, name, values):
    for value in values:
        assert check(settings, **{name: value}) == []


@pytest.mark.parametrize("name", ["read", "payments", ":read", "payments:", ":"])
def test_a_scope_without_a_resource_or_an_action_is_warned_about(settings, name):
    settings.APIKEYS = {**settings.APIKEYS, "SCOPES": {**SCOPES, name: "Read"}}
    (warning,) = [each for each in run_checks() if each.id == "apikeys.W004"]
    assert repr(name) in warning.msg
    assert "payments:read" in warning.hint
    assert found() == []  # it was valid in version 1.0
    assert apikeys.scopes.unknown([name]) == []


@pytest.mark.parametrize("name", ["openid", "offline_access", "payments:refund", "urn:acme:read"])
def test_a_scope_of_openid_or_with_an_action_is_not_warned_about(settings, name):
    settings.APIKEYS = {**settings.APIKEYS, "SCOPES": {**SCOPES, name: "Read"}}
    assert "apikeys.W004" not in [each.id for each in run_checks()]


@pytest.mark.parametrize("value", [None, ["PREFIX"], "PREFIX", 5])
def test_non_dictionary_settings_are_reported(settings, value):
    settings.APIKEYS = value
    (message,) = found()
    assert message.id == "apikeys.E001"
    assert "dictionary" in message.msg


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "dummy.DummyCache"])
def test_an_unshared_nonce_cache_is_reported(settings, backend):
    settings.CACHES = {"nonces": {"BACKEND": f"django.core.cache.backends.{backend}"}}
    assert check(settings, SIGNATURE_NONCE_CACHE="nonces") == ["apikeys.E062"]
    settings.CACHES = {
        "nonces": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:6379",
        }
    }
    assert check(settings, SIGNATURE_NONCE_CACHE="nonces") == []


def test_atomic_requests_without_a_nonce_cache_is_reported(settings):
    def warned():
        return [message.id for message in run_checks() if message.id == "apikeys.W060"]

    assert warned() == []
    settings.DATABASES["default"]["ATOMIC_REQUESTS"] = True
    try:
        assert warned() == ["apikeys.W060"]
    finally:
        settings.DATABASES["default"]["ATOMIC_REQUESTS"] = False


def test_a_misspelled_setting_gets_a_suggestion(settings):
    settings.APIKEYS = {"SCOPES": SCOPES, "SCOPE": {}}
    (message,) = found()
    assert "'SCOPES'" in message.hint
    settings.APIKEYS = {"SCOPES": SCOPES, "zzz": {}}
    (message,) = found()
    assert all(name in message.hint for name in all_names())


def test_a_pepper_is_not_repeated_in_the_message(settings):
    settings.APIKEYS = {**settings.APIKEYS, "PEPPERS": ["hunter2"]}
    assert "hunter2" not in str(found())


@pytest.mark.parametrize("label", ["nowhere.Project", "Project", "apikeys.Nothing", "a.b.c"])
def test_a_missing_project_model_is_reported(settings, label):
    settings.APIKEYS_PROJECT_MODEL = label
    assert [message.id for message in found()] == ["apikeys.E008"]


def test_a_project_model_without_a_slug_is_reported(settings):
    settings.APIKEYS_PROJECT_MODEL = "payments.Payment"
    assert [message.id for message in found()] == ["apikeys.E009"]


def test_an_ended_legacy_scheme_is_reported(settings):
    legacy = {"knox": {"UNTIL": date(2020, 1, 1)}, "authtoken": {"UNTIL": date(2100, 1, 1)}}
    settings.APIKEYS = {**settings.APIKEYS, "LEGACY": legacy}
    (warning,) = [message for message in run_checks() if message.id == "apikeys.W051"]
    assert "knox" in warning.msg
    assert "2020-01-01" in warning.msg


def test_every_check_has_a_unique_id():
    """`SILENCED_SYSTEM_CHECKS` has IDs, so an ID must not belong to two checks."""
    where = defaultdict(set)
    root = Path(apikeys.__file__).parent
    for path in [*root.rglob("checks.py"), *root.rglob("checks/*.py")]:
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                for id_ in re.findall(r"apikeys\.[EW]\d+", ast.unparse(function)):
                    where[id_].add(f"{path.relative_to(root).parts[0]}.{function.name}")
    for part in Table.__subclasses__():
        for setting in part.declared():
            where[setting.check].add(setting.name)

    assert len(where) > 50
    shared = {id_: names for id_, names in where.items() if len(names) > 1}
    assert shared == {
        "apikeys.E001": {"checks.check_settings", "checks._names"},
        "apikeys.E045": {"GATEWAY_TIMEOUT", "GATEWAY_MAX_BODY", "GATEWAY_MAX_CONNECTIONS"},
    }


class TestTimeouts:
    COMPLETE = {
        "postgresql": {
            "connect_timeout": 3,
            "tcp_user_timeout": 5000,
            "options": "-c statement_timeout=5000",
        },
        "mysql": {"connect_timeout": 3, "read_timeout": 5, "write_timeout": 5},
    }

    def warnings(self, settings, engine, options):
        engine = f"django.db.backends.{engine}"
        settings.DATABASES = {"default": {"ENGINE": engine, "OPTIONS": options}}
        return [each.msg for each in timeouts.check_timeouts()]

    @pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
    @pytest.mark.parametrize("engine", COMPLETE)
    def test_each_missing_timeout_is_reported(self, settings, engine):
        complete = self.COMPLETE[engine]
        assert self.warnings(settings, engine, complete) == []
        for name in complete:
            rest = {key: value for key, value in complete.items() if key != name}
            (message,) = self.warnings(settings, engine, rest)
            missing = "statement_timeout" if name == "options" else name
            assert message.endswith(f"Set {missing}.")

    @pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
    def test_a_pool_needs_a_timeout(self, settings):
        complete = self.COMPLETE["postgresql"]
        for pool in (True, {"max_size": 4}):
            (message,) = self.warnings(settings, "postgresql", complete | {"pool": pool})
            assert "the timeout of the pool" in message
        assert self.warnings(settings, "postgresql", complete | {"pool": {"timeout": 3}}) == []

    @pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
    def test_sqlite_needs_none(self, settings):
        assert self.warnings(settings, "sqlite3", {}) == []

    def test_it_is_only_checked_with_deploy(self, settings):
        assert timeouts.check_timeouts in registry_module.registry.get_checks(
            include_deployment_checks=True
        )
        assert timeouts.check_timeouts not in registry_module.registry.get_checks()
