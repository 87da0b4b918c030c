"""`manage.py check` fails for an issuer that could not be trusted safely."""

import pytest
from django.core.checks import run_checks

from apikeys.issuers import checks
from tests.issuers.provider import AUDIENCE, URL

GOOD = {"AUDIENCES": [AUDIENCE]}
# Names that lead to a database error, or to another user than the one that is meant.
NO_TEXT_FIELDS = ("pk", "id", "username__startswith", "groups", "is_active")


def ids(settings, issuers):
    settings.APIKEYS = {**settings.APIKEYS, "ISSUERS": issuers}
    return [each.id.removeprefix("apikeys.") for each in checks.check_issuers()]


def test_good_entry_passes(settings):
    assert ids(settings, {URL: GOOD}) == []
    assert not [each for each in run_checks() if each.id and "E11" in each.id]


@pytest.mark.parametrize(
    ("issuers", "expected"),
    [
        ([], ["E110"]),
        ({URL: {}}, ["E112"]),
        ({URL: {"AUDIENCES": []}}, ["E112"]),
        ({URL: {"CLIENT_IDS": ["web"]}}, []),
        ({URL: "text"}, ["E111"]),
        ({"http://id.example.com": GOOD}, ["E111"]),
        ({"http://127.0.0.1:8000": GOOD}, ["E111"]),
        ({"https://*.example.com": GOOD}, ["E111"]),
        ({URL: {**GOOD, "ALGORITHMS": ["HS256"]}}, ["E111"]),
        ({URL: {**GOOD, "ALGORITHM": ["RS256"]}}, ["E111"]),
        ({URL: {**GOOD, "SCOPE_MAP": {"admin": ["payments:delete"]}}}, ["E111"]),
        ({URL: {**GOOD, "SCOPE_MAP": {"admin": "payments:read"}}}, ["E111"]),
        ({URL: {**GOOD, "SCOPES_FROM": "roles"}}, ["E111"]),
        ({URL: {**GOOD, "MANAGE_KEYS": "yes"}}, ["E111"]),
        ({URL: {**GOOD, "MATCH": {"preferred_username": "username"}}}, ["W110"]),
        ({URL: {**GOOD, "MATCH": {"email": "email"}}}, ["W110"]),
        ({URL: {**GOOD, "MATCH": {"preferred_username": "email"}}}, ["E115"]),
        ({URL: {**GOOD, "MATCH": {"nick": "nick"}}}, ["E114"]),
        *(({URL: {**GOOD, "MATCH": {"nick": name}}}, ["E114"]) for name in NO_TEXT_FIELDS),
        ({URL: {**GOOD, "MATCH": "email"}}, ["E111"]),
    ],
)
def test_bad_entry_is_reported(settings, issuers, expected):
    assert ids(settings, issuers) == expected


def test_loopback_is_allowed_in_debug(settings):
    settings.DEBUG = True
    assert ids(settings, {"http://127.0.0.1:8000": GOOD}) == []


def test_missing_library_is_reported(settings, monkeypatch):
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    assert ids(settings, {}) == ["E113"]
