"""A misconfiguration is told by `manage.py check`, in a sentence with a way out."""

import ast
import re
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from math import inf
from pathlib import Path

import pytest
from django.core.checks import run_checks

import apikeys
from apikeys.conf import app_settings

SCOPES = {"payments:read": "See payments"}


def found():
    return [
        message for message in run_checks() if message.id and message.id.startswith("apikeys.E")
    ]


def check(settings, **changes):
    settings.APIKEYS = {**settings.APIKEYS, **changes}
    return [message.id for message in found()]


def test_the_example_is_sound():
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
def test_what_is_wrong_is_named(settings, id_, name, values):
    for value in values:
        ids = check(settings, **{name: value})
        assert ids == [id_] or set(ids) == {id_}, (value, ids)
        for message in found():
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
def test_what_is_right_passes(settings, name, values):
    for value in values:
        assert check(settings, **{name: value}) == []


@pytest.mark.parametrize("value", [None, ["PREFIX"], "PREFIX", 5])
def test_settings_that_are_no_dictionary(settings, value):
    settings.APIKEYS = value
    (message,) = found()
    assert message.id == "apikeys.E001"
    assert "dictionary" in message.msg


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "dummy.DummyCache"])
def test_a_cache_of_nonces_that_is_not_shared(settings, backend):
    settings.CACHES = {"nonces": {"BACKEND": f"django.core.cache.backends.{backend}"}}
    assert check(settings, SIGNATURE_NONCE_CACHE="nonces") == ["apikeys.E062"]
    settings.CACHES = {
        "nonces": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:6379",
        }
    }
    assert check(settings, SIGNATURE_NONCE_CACHE="nonces") == []


def test_atomic_requests_and_a_table_of_nonces(settings):
    def warned():
        return [message.id for message in run_checks() if message.id == "apikeys.W060"]

    assert warned() == []
    settings.DATABASES["default"]["ATOMIC_REQUESTS"] = True
    try:
        assert warned() == ["apikeys.W060"]
    finally:
        settings.DATABASES["default"]["ATOMIC_REQUESTS"] = False


def test_a_slip_of_the_pen_is_told_from_an_invention(settings):
    settings.APIKEYS = {"SCOPES": SCOPES, "SCOPE": {}}
    (message,) = found()
    assert "'SCOPES'" in message.hint
    settings.APIKEYS = {"SCOPES": SCOPES, "zzz": {}}
    (message,) = found()
    assert all(name in message.hint for name in app_settings.names())


def test_a_pepper_is_not_repeated_in_the_message(settings):
    settings.APIKEYS = {**settings.APIKEYS, "PEPPERS": ["hunter2"]}
    assert "hunter2" not in str(found())


@pytest.mark.parametrize("label", ["nowhere.Project", "Project", "apikeys.Nothing", "a.b.c"])
def test_a_project_model_that_is_not_there(settings, label):
    settings.APIKEYS_PROJECT_MODEL = label
    assert [message.id for message in found()] == ["apikeys.E008"]


def test_a_project_model_without_a_slug(settings):
    settings.APIKEYS_PROJECT_MODEL = "payments.Payment"
    assert [message.id for message in found()] == ["apikeys.E009"]


def test_a_legacy_scheme_whose_last_day_has_passed_is_told(settings):
    legacy = {"knox": {"UNTIL": date(2020, 1, 1)}, "authtoken": {"UNTIL": date(2100, 1, 1)}}
    settings.APIKEYS = {**settings.APIKEYS, "LEGACY": legacy}
    (warning,) = [message for message in run_checks() if message.id == "apikeys.W051"]
    assert "knox" in warning.msg
    assert "2020-01-01" in warning.msg


def test_to_silence_one_check_silences_no_other():
    """`SILENCED_SYSTEM_CHECKS` takes ids, so no two functions share one."""
    where = defaultdict(set)
    for path in Path(apikeys.__file__).parent.rglob("checks.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                for id_ in re.findall(r"apikeys\.[EW]\d+", ast.unparse(function)):
                    where[id_].add(f"{path.parent.name}.{function.name}")

    assert len(where) > 40
    shared = {id_: names for id_, names in where.items() if len(names) > 1}
    assert shared == {"apikeys.E001": {"apikeys.check_settings", "apikeys._names"}}
