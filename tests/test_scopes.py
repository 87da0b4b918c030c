"""Scopes compared: nothing amounts to more than its letters say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeys import scopes

names = st.from_regex(r"\A[a-z]{1,3}:(read|write|refund)\Z")


def test_they_are_declared_in_settings_in_order():
    without = ["payments:read", "payments:write", "reports:read"]
    assert list(scopes.declared()) == [*without, "keys:read", "keys:write"]


def test_those_that_manage_keys_are_given_to_nobody_who_did_not_ask():
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
def test_what_covers_what(granted, required, covered):
    assert scopes.covers(scopes.split(granted), required) is covered


@given(st.lists(names))
def test_splitting_and_joining_lose_and_add_nothing(given_names):
    assert set(scopes.split(scopes.join(given_names))) == set(given_names)
    assert scopes.join(reversed(given_names)) == scopes.join(given_names)


@given(st.lists(names), st.lists(names))
def test_only_write_implies_and_only_read(granted, required):
    implied = {name.replace(":write", ":read") for name in granted}

    assert scopes.covers(granted, required) == (set(required) <= {*granted, *implied})


def test_unknown_ones_are_named_in_order():
    assert scopes.unknown(["x:read", "payments:read", "a"]) == ["x:read", "a"]


@pytest.mark.parametrize("name", ["a b", 'a"b', "a\\b", "", "ä", "a\n", "\x00"])
def test_what_rfc_6749_does_not_let_be_a_scope(name):
    assert not scopes.TOKEN_PATTERN.fullmatch(name)
