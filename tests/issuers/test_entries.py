"""An entry of the settings is checked, and no fault repeats a value."""

import pytest

from apikeys.issuers import entries
from tests.issuers import provider
from tests.issuers.provider import KEYS, URL

GOOD = {"AUDIENCES": ["https://api.example.com"]}


def test_good_entry_has_no_fault():
    assert entries.faults(URL, GOOD) == []
    assert entries.faults(URL, {**GOOD, "JWKS": provider.jwks()}) == []
    assert entries.faults(URL, {**GOOD, "ALGORITHMS": ["ES256"]}) == []


def test_this_computer_is_only_for_debug(settings):
    assert len(entries.faults("http://127.0.0.1:8000", GOOD)) == 1
    settings.DEBUG = True
    assert entries.faults("http://127.0.0.1:8000", GOOD) == []


@pytest.mark.parametrize(
    "url",
    [
        *("http://id.example.com", "https://*.example.com", "*", "", "id.example.com", None),
        *("https://id.example.com/?a=b", "https://id.example.com/#a", "https://u@id.example.com"),
        *("https://id.example.com/ a", "https:\\\\id.example.com", "https://"),
    ],
)
def test_other_issuer_is_a_fault(url):
    assert "exact https URL" in entries.faults(url, GOOD)[0]


@pytest.mark.parametrize(
    "entry",
    [
        {"AUDIENCES": "https://api.example.com"},
        {"AUDIENCES": ["*"]},
        {"AUDIENCES": [""]},
        {"CLIENT_IDS": [1]},
        {"ALGORITHMS": ["HS256"]},
        {"ALGORITHMS": ["none"]},
        {"ALGORITHMS": []},
        {"TYPES": "JWT"},
        {"LEEWAY": 3600},
        {"LEEWAY": True},
        {"DISCOVERY": "saml"},
        {"JWKS_URL": "http://id.example.com/jwks"},
        {"JWKS": {}},
        {"JWKS": {"keys": []}},
        {"JWKS": {"keys": [KEYS["RS256"].as_dict(private=True)]}},
        {"JWKS": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}},
        {"PRIVATE_NETWORKS": ["10.0.0.1/8"]},
        {"PRIVATE_NETWORKS": "10.0.0.0/8"},
        {"AUDIENCE": ["a"]},
        {"JWKS_URL": "https://id.example.com/jwks", "JWKS": provider.jwks()},
        [],
    ],
)
def test_bad_entry_is_a_fault(entry):
    assert len(entries.faults(URL, entry)) == 1


def test_fault_repeats_no_value():
    secret = KEYS["RS256"].as_dict(private=True)
    assert secret["d"] not in "".join(entries.faults(URL, {"JWKS": {"keys": [secret]}}))
