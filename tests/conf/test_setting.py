"""Declarations of settings: default, rule, check and description."""

import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from apikeys.conf import AppSettings, app_settings, rules
from apikeys.gateway.conf import GatewaySettings, gateway_settings
from apikeys.oauth.conf import OAuthSettings

PARTS = (AppSettings, OAuthSettings, GatewaySettings)
DECLARED = [setting for part in PARTS for setting in part.declared()]


@pytest.mark.parametrize("setting", DECLARED, ids=lambda each: each.name)
def test_every_default_is_valid(setting):
    if setting.name != "SCOPES":  # the only required setting
        assert setting.rule.why_not(setting.default) is None


class Wrong:
    def __repr__(self):
        return "hunter2"


@pytest.mark.parametrize("setting", DECLARED, ids=lambda each: each.name)
def test_an_invalid_value_is_reported_but_not_shown(settings, setting):
    settings.APIKEYS = {setting.name: Wrong()}

    message = setting.error()

    assert message.id == setting.check
    assert setting.name in message.msg
    assert setting.rule.words in message.msg
    assert message.hint
    assert "hunter2" not in f"{message.msg} {message.hint}"


def test_a_value_is_a_plain_attribute_after_its_first_use(settings):
    app_settings.reload()
    assert app_settings.PREFIX == "acme"
    assert vars(app_settings)["PREFIX"] == "acme"
    settings.APIKEYS = {**settings.APIKEYS, "PREFIX": "other"}
    assert app_settings.PREFIX == "other"


def test_the_settings_of_a_part_change_at_once(settings):
    assert gateway_settings.GATEWAY_MAX_AGE == 0
    settings.APIKEYS = {**settings.APIKEYS, "GATEWAY_MAX_AGE": 5}
    assert gateway_settings.GATEWAY_MAX_AGE == 5


def test_a_class_that_cannot_be_loaded_is_explained(settings):
    settings.APIKEYS = {"POLICY": "acme.policy.AcmePolicy", "SCOPES": {"a:read": ""}}
    (message,) = AppSettings.errors()
    assert "No module named 'acme'" in message.msg


def test_a_policy_that_cannot_be_created_is_explained(settings):
    def build():
        raise ValueError("AcmePolicy needs a region.")

    settings.APIKEYS = {"POLICY": build}
    assert "AcmePolicy needs a region." in AppSettings.POLICY.error().msg


@pytest.mark.parametrize(
    ("rule", "right", "wrong"),
    [
        (rules.whole(1, 3), [1, 3], [0, 4, True, 1.0, "1", None]),
        (rules.whole(1).or_none(), [None, 1, 10**400], [0, "None"]),
        (rules.one_of("a", "b"), ["a", "b"], ["c", "", None, ["a"], b"a"]),
        (rules.text("letters", "[a-z]+"), ["a"], ["", "a\n", "é", None, b"a", 5]),
        (rules.list_of("letters", str.isalpha), [[], ("a",), {"b"}], ["a", {"a": 1}, [5], None]),
        (rules.SECONDS, [0.5, 1], [0, -1, float("inf"), float("nan"), 10**400, True, "1"]),
        (
            rules.duration("x", timedelta(0), timedelta(1)),
            [timedelta(0), timedelta(1)],
            [timedelta(-1), timedelta(2), 5, None],
        ),
        (rules.path_of("builtins.dict"), ["collections.OrderedDict"], ["builtins.list", dict, "x"]),
    ],
)
def test_a_rule_accepts_only_valid_values(rule, right, wrong):
    assert [value for value in right if rule.why_not(value) is not None] == []
    assert [value for value in wrong if rule.why_not(value) is None] == []


@pytest.mark.slow
def test_settings_of_optional_parts_are_known_without_them():
    code = """
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "apikeys"],
    APIKEYS={"SCOPES": {"a:read": ""}, "AUDIENCES": None, "GATEWAY_URL": None},
)
import django
django.setup()
from apikeys.checks import check_settings
assert check_settings() == [], check_settings()
"""
    subprocess.run([sys.executable, "-W", "error::ImportWarning", "-c", code], check=True)


if TYPE_CHECKING:
    from typing import assert_type

    from apikeys.conf.rules import Rule
    from apikeys.conf.setting import Setting, Table

    class Typed(Table):
        NUMBER = Setting(5, rules.whole(1), "", check="E999")
        PERHAPS = Setting(None, rules.whole(1).or_none(), "", check="E999")
        PARSED = Setting("", Rule[bytes]("text", bool, str.encode), "", check="E999")

    assert_type(Typed().NUMBER, int)
    assert_type(Typed().PERHAPS, int | None)
    assert_type(Typed().PARSED, bytes)
    assert_type(Typed.NUMBER, Setting[int])
    assert_type(app_settings.ROTATION_OVERLAP, timedelta)
