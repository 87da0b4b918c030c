"""The reference is complete: it is generated from the code, or compared with it."""

import ast
import inspect
import re

import pytest
from django.dispatch import Signal
from rest_framework import generics, mixins, serializers, views, viewsets

from apikeys import audit, drf, leaks, lifecycle, scopes, signals
from apikeys.api import base, key_views
from apikeys.models import AuditEvent
from apikeys.models.audit import EVENTS_OF_CLIENTS
from apikeys.oauth import signals as oauth_signals
from apikeys.policy import Policy
from tests.docs import http_api
from tests.docs.generated import PAGES, render
from tests.docs.reader import UPDATE
from tests.documents import ROOT, blocks, read, table
from tests.factories import UserFactory, mint_pat


@pytest.mark.parametrize("page", PAGES)
def test_what_is_generated_is_current(page):
    path = ROOT / page
    current = render(page)
    if UPDATE:
        path.write_text(current, "utf-8")
    assert path.read_text("utf-8") == current, f"Write {page} anew with UPDATE_DOCS=1."


def test_every_signature_is_python():
    signatures = blocks("docs/reference/python-api.md", "python")
    assert len(signatures) > 50
    for each in signatures:
        assert ast.parse(re.sub(r"^class (\w+)\(", r"def \1(", each))


@pytest.mark.slow
def test_no_operation_has_the_docstring_of_a_base_class():
    docstrings = {
        " ".join((inspect.getdoc(each) or "").split())
        for module in (base, key_views, generics, mixins, serializers, views, viewsets)
        for each in vars(module).values()
        if inspect.isclass(each) and each.__module__ == module.__name__
    } - {""}
    assert len(docstrings) > 20

    document = http_api.document()
    for *_, path, operation in http_api.operations(document):
        assert " ".join(operation["description"].split()) not in docstrings, path
    for name, schema in document["components"]["schemas"].items():
        assert " ".join(schema.get("description", "").split()) not in docstrings, name


def test_every_signal_is_listed():
    listed = {name.strip("`") for name, _, _ in table("docs/reference/signals.md", "signal")}

    assert listed == {name for name, each in vars(signals).items() if isinstance(each, Signal)}


def test_every_audit_event_is_listed_with_its_signal():
    listed = {
        name.strip("`"): re.findall(r"`(\w+)`", signal)
        for name, signal, *_ in table("docs/reference/audit.md", "event")
    }

    assert set(listed) | set(events_of_oauth()) == set(AuditEvent.Event.values)
    without = {name for name, signal in listed.items() if not signal}
    assert without == {"deleted", "notified", "denied", "allowed", "pruned"}
    named = [name for (name,) in filter(None, listed.values())]
    assert sorted(named) == sorted(
        n for n, each in vars(signals).items() if isinstance(each, Signal)
    )
    for event, signal in audit.FOUND.items():
        assert signal is getattr(signals, listed[event][0])
    for event in set(listed) - without - set(audit.FOUND):
        assert listed[event] == [f"key_{event}"]


def events_of_oauth():
    """Return the signal of each event about OAuth."""
    rows = table("docs/reference/audit.md", "event of OAuth")
    return {name.strip("`"): signal.strip("`") for name, signal, *_ in rows}


def test_every_event_of_oauth_is_listed_with_its_signal():
    listed = table("docs/reference/signals.md", "signal of OAuth")
    names = sorted(name.strip("`") for name, *_ in listed)

    assert names == sorted(oauth_signals.__all__)
    assert sorted(events_of_oauth().values()) == names
    assert EVENTS_OF_CLIENTS | {AuditEvent.Event.EXCHANGED} == set(events_of_oauth())


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


def test_every_method_of_the_policy_is_listed_with_its_arguments():
    listed = [name.strip("`") for name, *_ in table("docs/reference/policy.md", "method")]
    methods = {
        name: ", ".join(list(inspect.signature(each).parameters)[1:])
        for name, each in vars(Policy).items()
        if inspect.isfunction(each)
    }

    assert sorted(listed) == sorted(f"{name}({given})" for name, given in methods.items())
    attributes = {n for n in vars(Policy) if not n.startswith("_")} - set(methods)
    assert attributes == {"read_only_roles", "managing_roles"}
    assert all(f"`{name}`" in read("docs/reference/policy.md") for name in attributes)


def test_every_scope_with_a_meaning_is_listed():
    listed = {name.strip("`") for name, _ in table("docs/reference/scopes.md", "scope")}

    assert listed == scopes.BY_NAME
