"""Patterns with ``*``, compared with an independent implementation."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeys.workloads import globs

_SOME = st.text("ab/*", max_size=12)


def by_regex(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*+)", pattern)
    words = [
        (".*" if len(part) > 1 else "[^/]*") if part.startswith("*") else re.escape(part)
        for part in parts
    ]
    return re.compile("".join(words), re.DOTALL)


@given(_SOME, st.text("ab/", max_size=12))
def test_matches_like_a_regular_expression(pattern, text):
    assert globs.matches(pattern, text) is bool(by_regex(pattern).fullmatch(text))


@given(_SOME, _SOME, st.text("ab/", max_size=8))
def test_covered_pattern_matches_nothing_more(wide, narrow, text):
    if globs.covers(wide, narrow) and globs.matches(narrow, text):
        assert globs.matches(wide, text)


def test_work_grows_with_the_text_alone():
    """A pattern made of stars does not lead to backtracking."""
    steps = 0

    class Text(str):
        def __iter__(self):
            nonlocal steps
            for character in str.__iter__(self):
                steps += 1
                yield character

    assert not globs.matches("a" + "*a" * 120, Text("a" * 2000 + "b"))
    assert steps <= 2001


@pytest.mark.parametrize(("pattern", "is_open"), [("*", True), ("**x", True), ("a*", False)])
def test_pattern_that_begins_with_a_star_is_open(pattern, is_open):
    assert globs.is_open(pattern) is is_open
