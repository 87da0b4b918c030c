"""The reference is complete: it is written, or checked, by what it is about."""

import re

import pytest
from django.dispatch import Signal

from apikeys import drf, leaks, lifecycle, scopes, signals
from tests.docs.generated import PAGES, render
from tests.docs.reader import UPDATE
from tests.documents import ROOT, table
from tests.factories import UserFactory, mint_pat


@pytest.mark.parametrize("page", PAGES)
def test_what_is_generated_is_current(page):
    path = ROOT / page
    current = render(page)
    if UPDATE:
        path.write_text(current, "utf-8")
    assert path.read_text("utf-8") == current, f"Write {page} anew with UPDATE_DOCS=1."


def test_every_signal_is_listed():
    listed = {name.strip("`") for name, _, _ in table("docs/reference/signals.md", "signal")}

    assert listed == {name for name, each in vars(signals).items() if isinstance(each, Signal)}


def test_a_signal_has_the_arguments_that_are_listed(db):
    told = {
        name.strip("`"): words for name, _, words in table("docs/reference/signals.md", "signal")
    }
    seen = {}

    def receive(signal, **kwargs):
        (name,) = (name for name, each in vars(signals).items() if each is signal)
        seen[name] = set(kwargs) - {"sender", "key"}

    receivers = [each for each in vars(signals).values() if isinstance(each, Signal)]
    for each in receivers:
        each.connect(receive)
    try:
        key = mint_pat(UserFactory()).key
        lifecycle.edit(key, name="desk")
        lifecycle.rotate(key)
        lifecycle.revoke(key)
        text = mint_pat(UserFactory()).token
        leaks.report(text, source="a test")
    finally:
        for each in receivers:
            each.disconnect(receive)
    assert len(seen) == 5, seen
    for name, arguments in seen.items():
        assert arguments == set(re.findall(r"`(\w+)`", told[name])), name


def test_every_permission_is_listed():
    listed = {name.strip("`") for name, *_ in table("docs/reference/permissions.md", "class")}

    assert listed == set(drf.__all__) - {"AuthorizedRequest", "InsufficientScope", "refuse"}


def test_every_scope_with_a_meaning_is_listed():
    listed = {name.strip("`") for name, _ in table("docs/reference/scopes.md", "scope")}

    assert listed == scopes.BY_NAME
