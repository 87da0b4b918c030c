"""Comparing scopes: no scope implies more than it should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeys import scopes

names = st.from_regex(r"\A[a-z]{1,3}:(read|write|refund)\Z")


def test_a_long_text_is_not_cached():
    scopes._kept.cache_clear()
    for number in range(10):
        assert scopes.expand(f"a:write {'b ' * (5_000 + number)}") == {"a:write", "a:read", "b"}
    assert scopes._kept.cache_info().currsize == 0


def test_they_are_declared_in_settings_in_order():
    without = ["payments:read", "payments:write", "reports:read"]
    assert list(scopes.declared()) == [*without, "keys:read", "keys:write"]


def test_scopes_that_manage_keys_are_not_granted_by_default():
    assert scopes.default() == ["payments:read", "payments:write", "reports:read"]


@pytest.mark.parametrize(
    ("granted", "required", "covered"),
    [
        ("payments:write", ["payments:read"], True),
        ("payments:write", ["payments:write", "payments:read"], True),
        ("payments:read", ["payments:write"], False),
        ("payments:write", ["reports:read"], False),
        ("payments:write", ["pay:read"], False),
        ("payments:write", ["Payments:read"], False),
        ("payments:refund", ["payments:read"], False),
        ("payments:writer", ["payments:read"], False),
        ("write", ["read"], False),
        ("a:b:write", ["a:b:read"], True),
        ("a:b:write", ["a:read"], False),
        ("payments:*", ["payments:read"], False),
        ("", ["payments:read"], False),
        ("payments:read", [], True),
    ],
)
def test_covers_compares_scopes(granted, required, covered):
    assert scopes.covers(scopes.split(granted), required) is covered


@given(st.lists(names))
def test_splitting_and_joining_lose_and_add_nothing(given_names):
    assert set(scopes.split(scopes.join(given_names))) == set(given_names)
    assert scopes.join(reversed(given_names)) == scopes.join(given_names)


@pytest.mark.slow
@given(st.lists(names), st.lists(names))
def test_only_write_implies_and_only_read(granted, required):
    implied = {name.replace(":write", ":read") for name in granted}

    assert scopes.covers(granted, required) == (set(required) <= {*granted, *implied})


def test_unknown_scopes_are_listed_in_order():
    assert scopes.unknown(["x:read", "payments:read", "a"]) == ["x:read", "a"]


@pytest.mark.parametrize("name", ["a b", 'a"b', "a\\b", "", "ä", "a\n", "\x00"])
def test_an_invalid_scope_name_is_refused(name):
    assert not scopes.TOKEN_PATTERN.fullmatch(name)
